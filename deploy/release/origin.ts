import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Build } from '../../agent/kernel/build.ts';

/** What the program says of itself, once it is bundled. */
export type Origin = Omit<Build, 'form'>;

/**
 * What is to be bundled. Its date is that of the commit, or of `SOURCE_DATE_EPOCH` (seconds since 1970) where that is set, as
 * reproducible builds have it: nothing that is made tells when it was made.
 *
 * @param root the repository's folder
 */
export function originOf(root: string, env: NodeJS.ProcessEnv = process.env): Origin & { readonly date: string } {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const commit = git(root, ['describe', '--always', '--dirty', '--abbrev=40', '--exclude=*']);
  const seconds = env['SOURCE_DATE_EPOCH'] ?? git(root, ['log', '-1', '--format=%ct']);
  if (seconds === undefined || !/^\d+$/.test(seconds)) {
    throw new Error('there is no commit to take the date from; set SOURCE_DATE_EPOCH to seconds since 1970');
  }
  return { version, commit, date: new Date(Number(seconds) * 1000).toISOString() };
}

function git(root: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync('git', ['-C', root, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}
