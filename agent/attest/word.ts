import type { Selector } from '../kernel/selector.ts';
import type { SelectorName, SelectorNames, Vocabulary } from './vocabulary.ts';

/** What an attestor says under one name, and how to tell that it never says something. */
export interface Word extends SelectorName {
  /** Whether it may say this value, with the key in front where there is one. */
  readonly value: { test(value: string): boolean };
  /** What it may say, such that "takes …" reads well. */
  readonly allowed: string;
}

/**
 * The vocabulary of an attestor with one type.
 *
 * @param words by name
 * @param switchedOff why a name is not in use, as a sentence: `attestors.unix.path is false`; `undefined` when it is
 */
export function vocabularyOfWords(
  type: string,
  words: Readonly<Record<string, Word>>,
  switchedOff: (name: string) => string | undefined,
): Vocabulary {
  const names: SelectorNames = new Map(Object.entries(words));
  const neverSaid = (selector: Selector): string | undefined => {
    const [, name = '', ...rest] = selector.split(':');
    const off = switchedOff(name);
    if (off !== undefined) return `never matches: ${off}`;
    const word = Object.hasOwn(words, name) ? words[name] : undefined;
    if (word === undefined) return `names nothing that ${type} says; it says ${Object.keys(words).join(', ')}`;
    return word.value.test(rest.join(':')) ? undefined : `never matches: ${type}:${name} takes ${word.allowed}`;
  };
  return { types: [type], names: new Map([[type, names]]), neverSaid };
}
