import type { Selector } from '../kernel/selector.ts';

/** Which selectors the attestors of this agent may say, so that an entry which can never match is told when it is read. */
export interface Vocabulary {
  /** Every type that an attestor of this agent makes, in use or not: `unix`. */
  readonly types: readonly string[];
  /** Why no attestor in use will ever say `selector`, as the end of a sentence that begins with it; `undefined` when one may. */
  neverSaid(selector: Selector): string | undefined;
}
