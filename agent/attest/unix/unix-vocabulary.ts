import type { Vocabulary } from '../vocabulary.ts';
import { vocabularyOfWords, type Word } from '../word.ts';

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

/** What the unix attestor says, set up like this. */
export function unixVocabulary({ path, sha256 }: UnixSelectors): Vocabulary {
  return vocabularyOfWords('unix', WORDS, (name) => {
    if (name === 'path' && path === false) return 'attestors.unix.path is false';
    return name === 'sha256' && !sha256 ? 'attestors.unix.sha256 is false' : undefined;
  });
}
