import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { readVersion } from '../kernel/version.ts';
import { invocationOf } from './invocation.ts';
import { fields } from './output.ts';
import type { Terminal } from './terminal.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** `mayfly version` */
export function versionCommand(terminal: Terminal): Command {
  return new Command('version')
    .description('Show the version of this program.')
    .action((_options: unknown, command: Command) => {
      const version = readVersion();
      const commit = readCommit();
      const { output } = invocationOf(command, terminal);
      output.result({ version, commit: commit ?? null, node: process.version }, () => [
        `mayfly ${version}`,
        ...fields([
          ['commit', commit],
          ['node', process.version],
        ]),
      ]);
    });
}

/** The commit that a clone is at; `undefined` where this is no clone. */
function readCommit(): string | undefined {
  const head = read('.git/HEAD');
  const ref = /^ref: (refs\/.+)$/.exec(head ?? '')?.[1];
  if (ref === undefined) return commitIn(head);
  const packed = read('.git/packed-refs')
    ?.split('\n')
    .find((line) => line.endsWith(` ${ref}`));
  return commitIn(read(`.git/${ref}`)) ?? commitIn(packed?.split(' ')[0]);
}

function commitIn(text: string | undefined): string | undefined {
  return text !== undefined && /^[0-9a-f]{40,64}$/.test(text) ? text : undefined;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(join(ROOT, path), 'utf8').trim();
  } catch {
    return undefined;
  }
}
