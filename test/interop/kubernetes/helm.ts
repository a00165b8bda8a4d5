import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const DEPLOY: string = join(import.meta.dirname, '../../../deploy/kubernetes');
export const CHART: string = join(DEPLOY, 'chart');

/** Values of the chart, as in its `values.yaml`. */
export type Values = Readonly<Record<string, unknown>>;

/** The plain manifests are what the chart says to these. */
const PLAIN: Values = { namespace: { create: true } };

/** Renders the chart as the release `mayfly` in the namespace `mayfly`. @param helm the program @throws with what it says */
export async function render(helm: string, values: Values = {}): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'mayfly-values-'));
  try {
    const file = join(directory, 'values.json');
    writeFileSync(file, JSON.stringify(values));
    const args = ['template', 'mayfly', CHART, '--namespace', 'mayfly', '--values', file];
    return (await run(helm, args, { maxBuffer: 16 << 20 })).stdout;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The plain manifests, for who has no Helm: without what says that Helm has made them. */
export async function plainManifests(helm: string): Promise<string> {
  // Without the line that divides the first from nothing.
  const lines = (await render(helm, PLAIN)).split('\n').slice(1);
  const ofHelm = /^# Source: |^ *(?:helm\.sh\/chart|app\.kubernetes\.io\/managed-by): /;
  const head = '# Made of deploy/kubernetes/chart by `npm run manifests`: change it there.\n';
  return `${head}${lines.filter((line) => !ofHelm.test(line)).join('\n')}`;
}

/** Where the plain manifests are. */
export const MANIFESTS: string = join(DEPLOY, 'manifests', 'mayfly.yaml');
