import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tool } from '../toolchains.ts';
import { dockerArchive } from './image.ts';
import type { TarEntry } from './tar.ts';

const ROOT = join(import.meta.dirname, '../../..');
/** Where the chart looks for it, unless told otherwise. */
export const AGENT_IMAGE = 'docker.io/library/mayfly:0.1.0';

// No shell is needed: the kernel starts it.
const PROGRAM = '#!/bin/node --max-semi-space-size=2\nimport "/lib/mayfly/mayfly.mjs";\n';

/**
 * The agent's image: the program as `npm run build` makes it, Node and what that is linked to.
 *
 * @param scratch a directory for what is built
 */
export async function agentImage(scratch: string): Promise<Buffer> {
  await tool(process.execPath, ['deploy/release/build.ts', '--to', scratch], ROOT);
  const node = join(ROOT, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
  const libraries = (await tool('ldd', [node], ROOT)).match(/(?<=\s)\/\S+/g) ?? [];
  const file = (name: string, from: string, mode = 0o644): TarEntry => ({
    name: name.replace(/^\//, ''),
    content: { file: readFileSync(from) },
    mode,
  });
  return dockerArchive({
    name: AGENT_IMAGE,
    entrypoint: ['/bin/mayfly'],
    files: [
      file('bin/node', node, 0o755),
      { name: 'bin/mayfly', content: { file: Buffer.from(PROGRAM) }, mode: 0o755 },
      ...libraries.map((path) => file(path, path, 0o755)),
      file('lib/mayfly/mayfly.mjs', join(scratch, 'mayfly.mjs')),
      file('lib/mayfly/koffi.node', join(scratch, 'koffi.node'), 0o755),
    ],
  });
}
