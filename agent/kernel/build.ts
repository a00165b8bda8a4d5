import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What this program was made from. */
export interface Build {
  readonly version: string;
  /** `-dirty` follows it where more than this commit went in. */
  readonly commit: string | undefined;
  /** When the commit was made, not when somebody bundled it: the same commit gives the same program. */
  readonly date: string | undefined;
  readonly form: 'bundle' | 'sources';
}

/** The bundler writes JSON in place of this name; nothing else does. */
declare const MAYFLY_BUILD: string | undefined;

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The version of this program, from its package.json. */
export function readVersion(): string {
  const text = typeof MAYFLY_BUILD === 'string' ? MAYFLY_BUILD : readFileSync(join(ROOT, 'package.json'), 'utf8');
  const { version } = JSON.parse(text) as { version: string };
  return version;
}

/** All that is known of where this program comes from. */
export function readBuild(): Build {
  if (typeof MAYFLY_BUILD === 'string') return { ...(JSON.parse(MAYFLY_BUILD) as Omit<Build, 'form'>), form: 'bundle' };
  return { version: readVersion(), commit: commitOfClone(), date: undefined, form: 'sources' };
}

/** The commit that a clone is at; `undefined` where this is no clone. */
function commitOfClone(): string | undefined {
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
