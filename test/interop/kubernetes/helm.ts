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

/**
 * Renders the chart as the release `mayfly` in the namespace `mayfly`.
 *
 * @param helm the program
 * @param only names of templates, instead of all
 * @throws with what it says
 */
export async function render(helm: string, values: Values = {}, only: readonly string[] = []): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'mayfly-values-'));
  try {
    const file = join(directory, 'values.json');
    writeFileSync(file, JSON.stringify(values));
    const shown = only.map((name) => `--show-only=templates/${name}`);
    const args = ['template', 'mayfly', CHART, '--namespace', 'mayfly', '--values', file, ...shown];
    return (await run(helm, args, { maxBuffer: 16 << 20 })).stdout;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The plain manifests, for who has no Helm. */
export const MANIFESTS: string = join(DEPLOY, 'manifests', 'mayfly.yaml');
/** What the CSI driver takes besides. */
export const CSI_MANIFESTS: string = join(DEPLOY, 'manifests', 'csi.yaml');

/** @returns what is in each file of the plain manifests, by its path */
export async function plainManifests(helm: string): Promise<Readonly<Record<string, string>>> {
  const csi = ['csi-driver.yaml', 'csi-daemon-set.yaml'];
  return {
    [MANIFESTS]: plain(await render(helm, { namespace: { create: true } })),
    [CSI_MANIFESTS]: plain(await render(helm, { csi: { enabled: true } }, csi)),
  };
}

/** Without what says that Helm has made them. */
function plain(rendered: string): string {
  // Without the line that divides the first from nothing.
  const lines = rendered.split('\n').slice(1);
  const ofHelm = /^# Source: |^ *(?:helm\.sh\/chart|app\.kubernetes\.io\/managed-by): /;
  const head = '# Made of deploy/kubernetes/chart by `npm run manifests`: change it there.\n';
  return `${head}${lines.filter((line) => !ofHelm.test(line)).join('\n')}`;
}
