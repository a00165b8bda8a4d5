import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { jsonOf, run } from './transcript.ts';

let folder: string;
let config: string;

const CONFIG = 'trust_domain: example.org\nentries: [ entries/*.yaml ]\n';
const ENTRY = `entries:
  - id: payments
    spiffe_id: spiffe://example.org/payments
    selectors: [ "unix:uid:1000" ]
`;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-check-'));
  config = join(folder, 'mayfly.yaml');
  mkdirSync(join(folder, 'entries'));
  write('mayfly.yaml', CONFIG);
  write('entries/a.yaml', ENTRY);
});

afterEach(() => rmSync(folder, { recursive: true }));

function write(file: string, text: string): void {
  writeFileSync(join(folder, file), text);
}

test('good files pass', async () => {
  expect(await run(['check', '--config', config])).toEqual({
    code: 0,
    stdout: `${config} is good: 1 entry, 0 warnings\n`,
    stderr: '',
  });
  const json = { ok: true, problems: [], warnings: [], entries: 1 };
  for (const surroundings of [
    { env: { MAYFLY_CONFIG: config } },
    { env: { MAYFLY_CONFIG: 'mayfly.yaml' }, cwd: folder },
  ]) {
    const { code, stdout } = await run(['check', '--json'], surroundings);
    expect(code).toBe(0);
    expect(jsonOf(stdout)).toEqual(json);
  }
});

test('what is allowed and probably not meant is a warning, and passes', async () => {
  write('entries/a.yaml', `${ENTRY}    federates_with: [ other.org ]\n`);
  write('entries/b.yaml', ENTRY.replace('id: payments', 'id: b').replace('unix:uid:1000', 'unix:uid:root'));
  const { code, stdout } = await run(['check', '--config', config]);
  expect(code).toBe(0);
  const lines = stdout.split('\n');
  expect(lines[1]).toMatch(/^warning: .*\/entries\/a\.yaml:2: entry payments: it federates with other\.org/);
  expect(lines[0]).toMatch(/^warning: .*\/entries\/b\.yaml:2: entry b: no process can match it: "unix:uid:root"/);
  expect(lines[2]).toBe(`${config} is good: 2 entries, 2 warnings`);
});

test('every problem of all entries and bundles is told, with its place', async () => {
  write(
    'mayfly.yaml',
    `${CONFIG}bundles: [ { trust_domain: other.org, file: other.json }, { trust_domain: third.org, file: third.json } ]\n`,
  );
  write('third.json', '{}');
  write('entries/a.yaml', ENTRY.replace('spiffe_id:', 'spiffe_ud:'));
  write('entries/b.yaml', ENTRY.replace('example.org', 'foreign.org'));
  const { code, stdout, stderr } = await run(['check', '--config', config]);
  expect(code).toBe(1);
  expect(stderr).toBe('');
  const lines = stdout.split('\n');
  expect(lines.some((line) => /entries\/a\.yaml:3:5: .*spiffe_ud/.test(line))).toBe(true);
  expect(lines.some((line) => /entries\/b\.yaml:3:\d+: .*foreign\.org/.test(line))).toBe(true);
  expect(lines.some((line) => /^\/.*other\.json: /.test(line))).toBe(true);
  expect(lines.some((line) => /^\/.*third\.json: the bundle of third\.org has no list "keys"/.test(line))).toBe(true);
  expect(lines.at(-2)).toMatch(/is not good: \d problems; mend what stands above, and check again$/);

  const json = await run(['check', '--config', config, '--json']);
  expect(json.code).toBe(1);
  const { ok, problems } = jsonOf(json.stdout) as { ok: boolean; problems: { source: string; line: number }[] };
  expect(ok).toBe(false);
  expect(problems).toHaveLength(lines.length - 2);
  expect(problems.find(({ source }) => source.endsWith('b.yaml'))).toMatchObject({ line: 3 });
});

test('a configuration that is wrong or missing is told, and its entries are left alone', async () => {
  write('mayfly.yaml', 'trust_domian: example.org\n');
  const wrong = await run(['check', '--config', config]);
  expect(wrong.code).toBe(1);
  expect(wrong.stdout).toContain(`${config}:1:1: `);
  expect(wrong.stdout).toContain('trust_domian');
  const missing = await run(['check', '--config', join(folder, 'none.yaml'), '--json']);
  expect(missing.code).toBe(1);
  expect(jsonOf(missing.stdout)).toMatchObject({ ok: false, problems: [{ line: null }], entries: 0 });
});
