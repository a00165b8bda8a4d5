import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { configKeys, configSections } from '../../../agent/config/keys.ts';
import { unwrap } from '../../../agent/config/schema-problems.ts';
import { entryFileSchema } from '../../../agent/registry/entry-file.ts';
import { METRICS } from '../../check/metrics-reference.ts';
import { documents, proseOf, ROOT, readDocument, tableRows } from './documents.ts';

const sources = globSync('agent/**/*.ts', { cwd: ROOT, exclude: ['agent/gen/**'] }).map((path) =>
  readFileSync(join(ROOT, path), 'utf8'),
);
/** Events of the log and types of records, as they stand in the code. */
const written = new Set(
  sources.flatMap((text) => [...text.matchAll(/'([a-z0-9_]+\.[a-z_]+)'/g)].map(([, name]) => name)),
);
/** Those that are put together there, of what is known when the program runs. */
const madeUp = new Set([
  ...['made', 'opened', 'rotated'].map((how) => `authority.${how}`),
  ...['config', 'entries', 'federated_bundle'].flatMap((what) => [`${what}.reloaded`, `${what}.reload_failed`]),
]);
const keys = new Set([...configKeys.map(({ name }) => name), ...configSections]);
const values = new Set(pathsOf(parse(readFileSync(join(ROOT, 'deploy/kubernetes/chart/values.yaml'), 'utf8'))));
const sections = new Set([...configSections, ...[...written, ...madeUp, ...values].map((name) => name?.split('.')[0])]);
const metrics = new Set(METRICS.flatMap(({ families }) => Object.keys(families)));
/** Files, a gRPC service, a CSI driver, a sysctl, and what the chart hands on to the configuration. */
const OTHERS =
  /\.(yaml|service|socket|mjs|pem|json|jsonl)$|^grpc\.health\.v1$|^csi\.spiffe\.io$|^user\.max_|^config\.metrics$/;

/** The values of the chart, and what they stand in. */
function pathsOf(of: object, above = ''): readonly string[] {
  return Object.entries(of).flatMap(([key, value]: [string, unknown]) => [
    `${above}${key}`,
    ...(typeof value === 'object' && value !== null ? pathsOf(value, `${above}${key}.`) : []),
  ]);
}

/** Names with dots between backticks that look like keys, events or records and are none. */
function unknownIn(text: string): readonly string[] {
  return [...text.matchAll(/`([a-z0-9_]+(?:\.[a-zA-Z0-9_]+)+)`/g)]
    .map(([, name = '']) => name)
    .filter((name) => sections.has(name.split('.')[0] ?? ''))
    .filter(
      (name) => !keys.has(name) && !values.has(name) && !written.has(name) && !madeUp.has(name) && !OTHERS.test(name),
    );
}

test('a name that there is not is noticed', () => {
  expect(unknownIn('`peer.max_connection`, `ledger.fulll`, `authority.rotating`, `csi.nam`')).toHaveLength(4);
  expect(
    unknownIn('`peer.max_connections`, `ledger.full`, `svid.issued`, `authority.rotated`, `csi.name`, `sshd.service`'),
  ).toEqual([]);
});

test('docs/configuration.md names all lists, which only the file can hold', () => {
  const [, named = ''] = /^Lists \(([^)]*)\)/m.exec(readDocument('docs/configuration.md').text) ?? [];
  const lists = configKeys.filter(({ takes }) => takes === 'list').map(({ name }) => `\`${name}\``);
  expect(named.split(', ')).toEqual(expect.arrayContaining(lists));
  expect(named.split(', ')).toHaveLength(lists.length);
});

test('docs/entries.md has a row for each key of an entry, and no other', () => {
  const rows = tableRows(readDocument('docs/entries.md'));
  const heads = rows.findIndex(([cell]) => cell === 'Key');
  const end = rows.findIndex(([cell]) => cell === 'Selector');
  const told = rows
    .slice(heads + 1, end)
    .flatMap(([cell = '']) => [...cell.matchAll(/`([^`]+)`/g)].map(([, key]) => key));
  const { item } = unwrap(unwrap(entryFileSchema).entries?.['entries'] ?? v.never());
  expect(new Set(told)).toEqual(new Set(Object.keys(unwrap(item ?? v.never()).entries ?? {})));
  expect(told).toContain('spiffe_id');
});

test('docs/operations.md has a row for each event of the log, and no other', () => {
  const logged = sources.flatMap((text) =>
    [...text.matchAll(/\blog(?:\[[^\]]*\]|\.(?:debug|info|warn|error))\(\s*'([a-z_]+\.[a-z_]+)'/g)].map(
      ([, name]) => name,
    ),
  );
  expect(new Set(logged).size).toBeGreaterThan(30);
  const told = tableRows(readDocument('docs/operations.md')).flatMap(([cell = '', level = '']) =>
    /^(?:debug|info|warn|error)\b/.test(level) ? [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name) : [],
  );
  expect(new Set(told)).toEqual(new Set([...logged, ...madeUp]));
});

describe('docs/ledger.md', () => {
  const rows = tableRows(readDocument('docs/ledger.md'));
  const inSource = (file: string) => readFileSync(join(ROOT, 'agent/ledger', file), 'utf8');
  const namesIn = (text: string, quote: string) =>
    [...text.matchAll(new RegExp(`${quote}([a-z.-]+)${quote}`, 'g'))].map(([, name = '']) => name);

  test('tells of each type of record, and of no other', () => {
    const types = [...`${inSource('event.ts')}${inSource('record.ts')}`.matchAll(/^ {2}readonly type: (.*);$/gm)];
    const ofDecisions = types
      .flatMap(([, type = '']) => namesIn(type, "'"))
      .filter((type) => !/^svid\.(validated|rejected)$/.test(type));
    const heads = rows.findIndex(([cell, says]) => cell === '`type`' && says === 'Tells');
    const end = rows.findIndex(([, head]) => head === '`reason`');
    expect(ofDecisions.length).toBeGreaterThan(15);
    expect(
      rows
        .slice(heads + 1, end)
        .flatMap(([cell = '']) => namesIn(cell, '`'))
        .toSorted(),
    ).toEqual(ofDecisions.toSorted());
  });

  test('tells of each reason for which a lease ends', () => {
    const [, union = ''] = /^export type LeaseEndReason =\n(.*?);$/ms.exec(inSource('event.ts')) ?? [];
    const heads = rows.findIndex(([, head]) => head === '`reason`');
    const told = rows.slice(heads + 1, heads + 7).flatMap(([, cell = '']) => namesIn(cell, '`'));
    expect(told.toSorted()).toEqual(namesIn(union, "'").toSorted());
  });
});

describe.each(documents)('$path', (document) => {
  test('names keys, events and records as they are', () => {
    expect(unknownIn(proseOf(document))).toEqual([]);
  });

  test('names metrics as they are', () => {
    const named = [...document.text.matchAll(/`(mayfly_[a-z_]+[a-z])`/g)].map(([, name = '']) => name);
    expect(named.filter((name) => !metrics.has(name))).toEqual([]);
  });
});
