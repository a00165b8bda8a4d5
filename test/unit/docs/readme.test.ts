import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { vocabularyOf } from '../../../agent/attest/vocabularies.ts';
import { clientCommands } from '../../../agent/cli/commands.ts';
import type { Config } from '../../../agent/config/config.ts';
import { loadConfig } from '../../../agent/config/load.ts';
import { EntryFiles } from '../../../agent/registry/entry-files.ts';
import { entryWarnings } from '../../../agent/registry/entry-warnings.ts';
import { rulesOf } from '../../../agent/registry/file-entries.ts';
import { codeBlocks, documents, proseOf, ROOT, readDocument, tableRows } from './documents.ts';

const readme = readDocument('README.md');
const folder = mkdtempSync(join(tmpdir(), 'mayfly-docs-'));
afterAll(() => rmSync(folder, { recursive: true }));

// What is Envoy's is marked `yml`.
const examples = documents.flatMap((document) =>
  codeBlocks(document, 'yaml').map((text) => ({ path: document.path, text })),
);
const isEntryFile = ({ text }: { readonly text: string }) => /^entries:\n/m.test(text);

describe('README.md', () => {
  test('has a row for each command', () => {
    const told = tableRows(readme).map(([cell]) => /^`([a-z]+)/.exec(cell ?? '')?.[1]);
    for (const name of ['dev', 'run', ...clientCommands.map((command) => command.name)])
      expect(told, name).toContain(name);
  });

  test('links every document in docs/', () => {
    for (const file of readdirSync(join(ROOT, 'docs'))) expect(proseOf(readme)).toContain(`](docs/${file})`);
  });
});

describe('the examples', () => {
  test('are there', () => {
    expect(examples.filter(isEntryFile)).not.toEqual([]);
    expect(examples.filter((example) => !isEntryFile(example))).not.toEqual([]);
  });

  test.each(examples.filter((example) => !isEntryFile(example)))(
    'a configuration in $path is accepted',
    async ({ text }) => {
      expect((await configOf(text)).trustDomain).toBe('example.org');
    },
  );

  test.each(examples.filter(isEntryFile))('an entry file in $path is accepted, without a warning', async ({ text }) => {
    const entries = join(folder, 'entries');
    mkdirSync(entries, { recursive: true });
    writeFileSync(join(entries, 'example.yaml'), text);
    const config = await configOf(codeBlocks(readme, 'yaml')[0]!);
    const files = {
      patterns: config.entries,
      trustDomain: config.trustDomain,
      requireOwner: config.policy.requireOwner,
      vocabulary: vocabularyOf(allSwitchedOn(config.attestors)),
      federated: new Set(config.bundles.map(({ trustDomain }) => trustDomain)),
    };
    const set = await new EntryFiles().read(files.patterns, rulesOf(files));
    expect(set.entries.length).toBeGreaterThan(0);
    expect(entryWarnings(set.entries, { ...files, now: Date.now() })).toEqual([]);
  });
});

/** Which attestors an entry is for is not what its example is about. */
function allSwitchedOn({ docker, k8s, podman, systemd, unix }: Config['attestors']): Config['attestors'] {
  const enabled = true;
  return {
    unix,
    docker: { ...docker, enabled },
    podman: { ...podman, enabled },
    k8s: { ...k8s, enabled },
    systemd: { ...systemd, enabled },
  };
}

function configOf(text: string): Promise<Config> {
  const path = join(folder, 'mayfly.yaml');
  writeFileSync(path, text);
  return loadConfig({ path, env: { CREDENTIALS_DIRECTORY: folder } });
}
