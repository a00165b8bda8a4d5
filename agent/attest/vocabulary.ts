import type { Selector } from '../kernel/selector.ts';

/** Which selectors the attestors of this agent may say, so that an entry which can never match is told when it is read. */
export interface Vocabulary {
  /** Every type that an attestor of this agent makes, in use or not: `unix`. */
  readonly types: readonly string[];
  /** Why no attestor in use will ever say `selector`, as the end of a sentence that begins with it; `undefined` when one may. */
  neverSaid(selector: Selector): string | undefined;
}

/** What several attestors say together: a selector is whose type it has. */
export function joinVocabularies(vocabularies: readonly Vocabulary[]): Vocabulary {
  const byType = new Map(vocabularies.flatMap((each) => each.types.map((type) => [type, each] as const)));
  return {
    types: [...byType.keys()],
    neverSaid(selector) {
      const [type = ''] = selector.split(':');
      const vocabulary = byType.get(type);
      if (vocabulary !== undefined) return vocabulary.neverSaid(selector);
      return `has a type that no attestor makes; there are ${[...byType.keys()].join(', ')}`;
    },
  };
}
