import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** The stages in the order in which data flows: each may import `kernel` and what stands before it, never what stands behind. */
const STAGES = [
  'kernel',
  'svid',
  'config',
  'peer',
  'attest',
  'registry',
  'policy',
  'authority',
  'ledger',
  'revocation',
  'lease',
  'gen',
  'serve',
  'cli',
];

/** Only one place makes decisions, only one speaks to the kernel. */
const RESERVED: readonly { readonly what: RegExp; readonly of: RegExp; readonly inside: RegExp }[] = [
  { what: /\bgrant\b(?!ed)/, of: /policy\/grant\.ts$/, inside: /^agent\/policy\// },
  { what: /./, of: /^koffi$/, inside: /^agent\/peer\// },
  { what: /./, of: /^@grpc\/grpc-js$/, inside: /^agent\/(serve|cli)\// },
];

/**
 * Finds imports against the way of the data.
 *
 * @param root the repository's folder
 * @returns the files that were looked at, and a sentence for each wrong import
 */
export function checkLayers(root: string): { files: number; problems: readonly string[] } {
  const files = globSync('agent/**/*.ts', { cwd: root }).filter((file) => !file.startsWith('agent/gen/'));
  const problems: string[] = [];
  for (const file of files) {
    for (const { names, from, typeOnly } of importsOf(readFileSync(join(root, file), 'utf8'))) {
      const target = from.startsWith('.') ? relative(root, join(root, dirname(file), from)) : from;
      const wrong = wrongStage(file, target) ?? (typeOnly ? undefined : wrongReserved(file, target, names));
      if (wrong !== undefined) problems.push(`${file} imports ${target}: ${wrong}`);
    }
  }
  return { files: files.length, problems };
}

function importsOf(source: string) {
  const pattern =
    /^(?:import|export)\s+(type\s+)?([^'";=(]*?)\s+from\s+'([^']+)'|^import\s+'([^']+)'|\bimport\('([^']+)'\)/gm;
  return [...source.matchAll(pattern)].map(([, type, names, from, bare, lazy]) => ({
    names: names ?? '',
    from: from ?? bare ?? lazy ?? '',
    typeOnly: type !== undefined,
  }));
}

function stageOf(file: string): string | undefined {
  const [top, stage, rest] = file.split('/');
  return top === 'agent' && rest !== undefined ? stage : undefined;
}

function wrongStage(file: string, target: string): string | undefined {
  const from = stageOf(file);
  const to = stageOf(target);
  if (from !== undefined && target.startsWith('agent/') && to === undefined && from !== 'cli') {
    return 'a stage knows nothing of the composition root';
  }
  if (from === undefined || to === undefined || from === to) return undefined;
  if (!STAGES.includes(from)) return `${from} is no known stage`;
  if (!STAGES.includes(to)) return `${to} is no known stage`;
  return STAGES.indexOf(to) < STAGES.indexOf(from) ? undefined : `${to} stands behind ${from}`;
}

function wrongReserved(file: string, target: string, names: string): string | undefined {
  const broken = RESERVED.find(({ what, of, inside }) => of.test(target) && what.test(names) && !inside.test(file));
  return broken === undefined ? undefined : `that is for ${broken.inside.source} alone`;
}
