import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { checkGenerated } from './generated.ts';
import { checkLayers } from './layers.ts';

const root = join(import.meta.dirname, '..', '..');

/** Each check by name; true when clean. A check that has looked at nothing is not clean. */
const CHECKS: Readonly<Record<string, () => boolean>> = {
  types: () => runs('tsc', ['-p', '.']),
  lint: () => runs('oxlint', ['agent', 'test', 'deploy']),
  format: () => runs('biome', ['check', '--error-on-warnings', '.']),
  unused: () => runs('knip', ['--no-progress']),
  generated: () => clean(checkGenerated(root)),
  layers: () => clean(checkLayers(root)),
};

function runs(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { cwd: root, stdio: 'inherit' }).status === 0;
}

function clean({ files, problems }: { files: number; problems: readonly string[] }): boolean {
  for (const problem of problems) console.error(problem);
  if (files === 0) console.error('no file was looked at');
  return files > 0 && problems.length === 0;
}

const failed: string[] = [];
for (const [name, check] of Object.entries(CHECKS)) {
  const start = performance.now();
  const passed = check();
  if (!passed) failed.push(name);
  console.log(`${passed ? 'ok    ' : 'FAILED'} ${name} (${Math.round(performance.now() - start)} ms)`);
}
if (failed.length > 0) console.error(`not clean: ${failed.join(', ')}`);
process.exitCode = failed.length > 0 ? 1 : 0;
