import type { Selector } from '../kernel/selector.ts';
import type { SelectorName, SelectorNames, Vocabulary } from './vocabulary.ts';

/** Which of its costlier selectors the unix attestor says. */
export interface UnixSelectors {
  /**
   * `unix:path`: `true` only of a file that the agent too finds at that path; `'any'` also of a path that exists in the process'
   * own mount namespace alone, as SPIRE does: any user can make one; `false` never.
   */
  readonly path: boolean | 'any';
  /** `unix:sha256`. */
  readonly sha256: boolean;
}

interface Word extends SelectorName {
  readonly value: RegExp;
  readonly allowed: string;
}

const NUMBER: Word = { values: 'one', example: '1000', value: /^(0|[1-9][0-9]{0,9})$/, allowed: 'a decimal number' };
const NAME: Word = { values: 'one', example: 'payments', value: /^[^:]+$/, allowed: 'a name without ":"' };

const WORDS: Readonly<Record<string, Word>> = {
  uid: NUMBER,
  user: NAME,
  gid: NUMBER,
  group: NAME,
  supplementary_gid: { ...NUMBER, values: 'several' },
  supplementary_group: { ...NAME, values: 'several' },
  path: { values: 'one', example: '/usr/bin/payments', value: /^\/./s, allowed: 'an absolute path' },
  sha256: {
    values: 'one',
    example: '0f'.repeat(32),
    value: /^[0-9a-f]{64}$/,
    allowed: '64 lower-case hexadecimal digits',
  },
};

const NAMES: SelectorNames = new Map(Object.entries(WORDS));

/** What the unix attestor says, set up like this. */
export function unixVocabulary(says: UnixSelectors): Vocabulary {
  return {
    types: ['unix'],
    names: new Map([['unix', NAMES]]),
    neverSaid: (selector) => neverSaid(selector, says),
  };
}

function neverSaid(selector: Selector, says: UnixSelectors): string | undefined {
  const [, name = '', ...rest] = selector.split(':');
  const word = Object.hasOwn(WORDS, name) ? WORDS[name] : undefined;
  if (word === undefined) return `names nothing that unix says; it says ${Object.keys(WORDS).join(', ')}`;
  if (!word.value.test(rest.join(':'))) return `never matches: unix:${name} takes ${word.allowed}`;
  if (name === 'path' && says.path === false) return 'never matches: attestors.unix.path is false';
  if (name === 'sha256' && !says.sha256) return 'never matches: attestors.unix.sha256 is false';
  return undefined;
}
