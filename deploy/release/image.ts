import { chmodSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Owned } from './archive.ts';
import { setModes } from './modes.ts';

/** The user that the Dockerfile names. */
export const IMAGE_USER = 65_532;

// The launcher needs a shell.
const TAKES: readonly string[] = [
  'LICENSE',
  'THIRD-PARTY-LICENSES',
  'koffi.node',
  'lib',
  'mayfly.mjs',
  'node',
  'sbom.cdx.json',
];
const COMMAND = `#!/opt/mayfly/node --max-semi-space-size=2
await import('/opt/mayfly/mayfly.mjs');
`;

/**
 * Lays out the program as an image has it: in `/opt/mayfly`, as the command `mayfly`, with directories that the image's user may write to.
 * A volume that is mounted there for the first time is given their owner.
 *
 * @param release the folder of a release
 * @param to the folder that is made
 * @returns what goes into the layer
 */
export function layOutImage(release: string, to: string): readonly [Owned, Owned] {
  const root = join(to, 'root');
  const state = join(to, 'state');
  mkdirSync(join(root, 'opt'), { recursive: true });
  for (const name of TAKES) cpSync(join(release, name), join(root, 'opt/mayfly', name), { recursive: true });
  // What is above what the layer has must be in it too, or it would be of the time at which the image is built.
  for (const folder of ['usr/bin', 'run', 'var/lib']) mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, 'usr/bin/mayfly'), COMMAND);
  setModes(root, { executable: /^usr\/bin\/mayfly$|^opt\/mayfly\/node$/ });
  for (const folder of ['run/mayfly', 'var/lib/mayfly']) mkdirSync(join(state, folder), { recursive: true });
  chmodSync(join(state, 'run/mayfly'), 0o755);
  chmodSync(join(state, 'var/lib/mayfly'), 0o700);
  return [
    { owner: 0, folder: root, names: ['opt', 'run', 'usr', 'var'] },
    { owner: IMAGE_USER, folder: state, names: ['run/mayfly', 'var/lib/mayfly'] },
  ];
}
