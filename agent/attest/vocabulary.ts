import type { Selector } from '../kernel/selector.ts';

/** What an attestor says under one name, so far as an entry may take a value from it: `uid`, `pod-label`. */
export interface SelectorName {
  /** How many values one process can have at a time; of one key, where there are keys. */
  readonly values: 'one' | 'several';
  /**
   * An ordinary value, without a key: `1000`. Where such a one cannot be part of a SPIFFE ID, as a path cannot, no entry may ask for
   * it; one that is out of the ordinary is refused when it turns up.
   */
  readonly example: string;
  /** What stands between a key and its value, where there is a key: the second colon of `k8s:pod-label:app:web`. */
  readonly key?: ':' | '=';
}

/** By name: of `unix:uid:1000` it is `uid`. */
export type SelectorNames = ReadonlyMap<string, SelectorName>;

/** Which selectors the attestors of this agent may say, so that an entry which can never match is told when it is read. */
export interface Vocabulary {
  /** Every type that an attestor of this agent makes, in use or not: `unix`. */
  readonly types: readonly string[];
  /** Everything that may be said, in use or not, by type. */
  readonly names: ReadonlyMap<string, SelectorNames>;
  /** Why no attestor in use will ever say `selector`, as the end of a sentence that begins with it; `undefined` when one may. */
  neverSaid(selector: Selector): string | undefined;
}

/** What several attestors say together: a selector is whose type it has. */
export function joinVocabularies(vocabularies: readonly Vocabulary[]): Vocabulary {
  const byType = new Map(vocabularies.flatMap((each) => each.types.map((type) => [type, each] as const)));
  return {
    types: [...byType.keys()],
    names: new Map(vocabularies.flatMap(({ names }) => [...names])),
    neverSaid(selector) {
      const [type = ''] = selector.split(':');
      const vocabulary = byType.get(type);
      if (vocabulary !== undefined) return vocabulary.neverSaid(selector);
      return `has a type that no attestor makes; there are ${[...byType.keys()].join(', ')}`;
    },
  };
}
