import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as v from 'valibot';
import { afterAll, describe, expect, test } from 'vitest';
import { duration, filePath, list, mapping, size } from '../../../agent/config/field.ts';
import { InvalidConfig } from '../../../agent/config/problem.ts';
import { parseDocument, parseLongDocument, readDocument } from '../../../agent/config/yaml-document.ts';
import { MayflyError } from '../../../agent/kernel/errors.ts';

const schema = mapping({
  name: v.optional(v.string()),
  level: v.optional(v.picklist(['debug', 'info', 'warn'])),
  enabled: v.optional(v.boolean()),
  path: v.optional(v.union([v.boolean(), v.literal('any')])),
  count: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(5))),
  ttl: v.optional(duration('5s', '1h')),
  limit: v.optional(size('1KiB', '1MiB')),
  file: v.optional(filePath),
  items: v.optional(list(mapping({ id: v.string(), tags: v.optional(list(v.string(), 1, 1000)) }), 0, 2)),
});

function refusal(text: string): InvalidConfig {
  try {
    parseDocument('f.yaml', text, schema);
  } catch (error) {
    if (error instanceof InvalidConfig) return error;
    throw error;
  }
  throw new Error(`${JSON.stringify(text)} was accepted`);
}

describe('syntax that is refused', () => {
  test.each<[what: string, text: string, message: string]>([
    ['a tab as indentation', 'items:\n\t- id: a\n', 'f.yaml:2:1: a tab is no indentation; indent with spaces'],
    [
      'a duplicate key',
      'name: a\ncount: 1\nname: b\n',
      'f.yaml:3:1: name: stands here a second time; it first stood on line 1',
    ],
    [
      'a duplicate key in braces',
      'items: [{ id: a, id: b }]',
      'f.yaml:1:18: items[0].id: stands here a second time; it first stood on line 1',
    ],
    [
      'an anchor',
      'name: &a x',
      'f.yaml:1:10: name: the anchor &a is not allowed; write the value out where it is needed',
    ],
    ['an alias', 'name: *a', 'f.yaml:1:7: name: the alias *a is not allowed; write the value out'],
    ['a merge key', '<<: { name: a }', 'f.yaml:1:1: <<: merge keys are not allowed; write the values out'],
    [
      'a tag',
      'name: !!str 5',
      'f.yaml:1:13: name: the tag tag:yaml.org,2002:str is not allowed; quote a value to make it text',
    ],
    ['a second document', 'name: a\n---\nname: b\n', 'f.yaml:2:1: a second document starts here; a file holds one'],
    [
      'a version directive',
      '%YAML 1.1\n---\nenabled: yes\n',
      'f.yaml:1:1: directives (%YAML, %TAG) are not allowed; the file is read as YAML 1.2',
    ],
    ['a NUL byte', 'name: a\0b', 'f.yaml:1:8: has a NUL byte; the file is damaged or is no text'],
    ['a key that is a number', '1: a', 'f.yaml:1:1: 1 is no key; a key is text'],
    ['a key that is a list', '? [1]\n: a', 'f.yaml:1:3: this is no key; a key is text'],
    ['a key that is a prototype', '__proto__: { name: a }', 'f.yaml:1:1: __proto__: is no known key'],
    ['an open quote', 'name: "a', 'f.yaml:1:9: is no YAML: missing closing "quote'],
    [
      'an open bracket',
      'items: [\n',
      'f.yaml:2:1: is no YAML: flow sequence in block collection must be sufficiently indented and end with a ]',
    ],
    ['a colon too many', 'name: a: b', 'f.yaml:1:7: is no YAML: nested mappings are not allowed in compact mappings'],
  ])('%s', (_, text, message) => {
    const error = refusal(text);
    expect(error.code).toBe('INVALID_CONFIG');
    expect(error).toBeInstanceOf(MayflyError);
    expect(error.message).toBe(message);
  });

  test('aliases that would explode are refused one by one, and nothing is expanded', () => {
    const lines = ['a0: &a0 [lol, lol]'];
    for (let level = 1; level < 10; level += 1) lines.push(`a${level}: &a${level} [${`*a${level - 1}, `.repeat(10)}]`);
    const { problems } = refusal(lines.join('\n'));
    expect(problems).toHaveLength(10 + 9 * 10);
    expect(problems.every(({ message }) => /^the (anchor|alias)/.test(message))).toBe(true);
  });

  test.each(['['.repeat(1 << 20), '{a: '.repeat(1 << 18), '- '.repeat(1 << 16), '? '.repeat(1 << 16)])(
    'nesting without end is refused before it is built: %.4s…',
    (text) => {
      expect(refusal(text).message).toMatch(/^f\.yaml:1:\d+: is nested more than 64 levels deep$/);
    },
  );
});

describe('values that are refused', () => {
  test.each<[text: string, message: string]>([
    ['', 'f.yaml:1:1: is empty'],
    ['# nothing\n', 'f.yaml:1:1: is empty'],
    ['- a', 'f.yaml:1:1: must be a mapping of keys to values, found a list'],
    ['text', 'f.yaml:1:1: must be a mapping of keys to values, found "text"'],
    ['name: a\nlevle: info', 'f.yaml:2:1: levle: is no known key; did you mean level?'],
    ['items:\n  - id: a\n    Tags: [b]', 'f.yaml:3:5: items[0].Tags: is no known key; did you mean tags?'],
    ['items: [{ id: a, unheard: b }]', 'f.yaml:1:18: items[0].unheard: is no known key; allowed are id, tags'],
    [
      'constructor: 1',
      'f.yaml:1:1: constructor: is no known key; allowed are name, level, enabled, path, count, ttl, limit, file, items',
    ],
    ['items:\n  - tags: [a]', 'f.yaml:2:5: items[0].id: is missing; it must be text'],
    ['items:\n', 'f.yaml:1:7: items: has no value; it must be a list, or leave the key out'],
    ['items: [{ id: a, tags: [] }]', 'f.yaml:1:24: items[0].tags: must have at least 1 item, found 0'],
    ['items: [{ id: a }, { id: b }, { id: c }]', 'f.yaml:1:8: items: must have at most 2 items, found 3'],
    ['level: inof', 'f.yaml:1:8: level: must be debug, info or warn, found "inof"; did you mean info?'],
    ['enabled: yes', 'f.yaml:1:10: enabled: must be true or false, found "yes"; write true or false'],
    ['path: some', 'f.yaml:1:7: path: must be true, false or any, found "some"'],
    ['count: 6', 'f.yaml:1:8: count: must be at most 5, found 6'],
    ['count: 0', 'f.yaml:1:8: count: must be at least 1, found 0'],
    ['count: 1.5', 'f.yaml:1:8: count: must be a whole number, found 1.5'],
    ['count: "3"', 'f.yaml:1:8: count: must be a number, found "3"'],
    ['ttl: 300', 'f.yaml:1:6: ttl: must be a duration from 5s to 1h, found 300'],
    ['ttl: 5 minutes', 'f.yaml:1:6: ttl: "5 minutes" is no duration; write 30s, 5m, 1h30m or 7d'],
    ['ttl: 4s', 'f.yaml:1:6: ttl: must be from 5s to 1h, found 4s'],
    ['limit: 1MB', 'f.yaml:1:8: limit: "1MB" is no size; write 65536, 64KiB, 4MiB or 1GiB'],
    ['limit: 1023', 'f.yaml:1:8: limit: must be from 1KiB to 1MiB, found 1023 bytes'],
    ['limit: true', 'f.yaml:1:8: limit: must be a size from 1KiB to 1MiB, found true'],
    ['file: ""', 'f.yaml:1:7: file: "" is no path; name a file'],
    ['file: "a\\0b"', 'f.yaml:1:7: file: "a\\u0000b" has a control character, which no path here may have'],
    ['file: unix:///run/x', 'f.yaml:1:7: file: "unix:///run/x" is an address; write the path alone, without unix:'],
  ])('%j', (text, message) => {
    expect(refusal(text).message).toBe(message);
  });

  test('all of them at once, in reading order, with their places', () => {
    const { problems, message } = refusal('count: 9\nnmae: a\nitems:\n  - id: 1\n  - {}\nlevel: info\n');
    expect(problems).toEqual([
      { source: 'f.yaml', line: 1, column: 8, path: 'count', message: 'must be at most 5, found 9' },
      { source: 'f.yaml', line: 2, column: 1, path: 'nmae', message: 'is no known key; did you mean name?' },
      { source: 'f.yaml', line: 4, column: 9, path: 'items[0].id', message: 'must be text, found 1' },
      { source: 'f.yaml', line: 5, column: 5, path: 'items[1].id', message: 'is missing; it must be text' },
    ]);
    expect(message.split('\n')).toHaveLength(4);
  });

  test('of very many, twenty and how many more', () => {
    const error = refusal(Array.from({ length: 50 }, (_, index) => `x${index}: 1`).join('\n'));
    expect(error.problems).toHaveLength(50);
    const told = error.message.split('\n');
    expect(told).toHaveLength(21);
    expect(told.at(-1)).toBe('and 30 more');
  });

  test.each(['level', 'ttl', 'count', 'file'])('a long value is cut: %s', (key) => {
    const { message } = refusal(`${key}: "${'x\\u0001'.repeat(4000)}"`);
    expect(message.length).toBeLessThan(700);
    expect(message).not.toContain('\u0001');
    expect(message).toContain('…');
  });
});

describe('what is accepted', () => {
  test('is given as the schema makes it, with its lines', () => {
    const document = parseDocument(
      'f.yaml',
      '# first\nname: a\nttl: 1m30s\nlimit: 2KiB\nitems:\n  - id: x\n\n  - id: y\n',
      schema,
    );
    expect(document.value).toEqual({ name: 'a', ttl: 90_000, limit: 2048, items: [{ id: 'x' }, { id: 'y' }] });
    expect(document.lineOf(['items', 1])).toBe(8);
    expect(document.lineOf(['items', 1, 'tags'])).toBe(8);
    expect(document.problem(['items', 0, 'id'], 'is there twice')).toEqual({
      source: 'f.yaml',
      line: 6,
      column: 9,
      path: 'items[0].id',
      message: 'is there twice',
    });
  });

  test.each([
    ['name: yes', { name: 'yes' }],
    ['name: "010"', { name: '010' }],
    ['name: 2026-01-01', { name: '2026-01-01' }],
    ['---\nname: a\n...\n', { name: 'a' }],
    ['name:\ta', { name: 'a' }],
    ['limit: 2048', { limit: 2048 }],
  ])('%j, as YAML 1.2 reads it', (text, value) => {
    expect(parseDocument('f.yaml', text, schema).value).toEqual(value);
  });
});

describe('from a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-document-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  test('is what parseDocument makes of its text, named by its path', async () => {
    const path = join(folder, 'a.yaml');
    writeFileSync(path, 'name: a\n');
    const document = await readDocument(path, schema, 100);
    expect(document.value).toEqual({ name: 'a' });
    expect(document.file).toBe(path);
    writeFileSync(path, 'count: 9\n');
    await expect(readDocument(path, schema, 100)).rejects.toThrow(`${path}:1:8: count: must be at most 5, found 9`);
  });
});

describe('a long text', () => {
  const names = Array.from({ length: 2500 }, (_, index) => `name-${index}`);
  const long = list(mapping({ id: v.string() }), 0, names.length);
  const text = names.map((name) => `- id: ${name}\n`).join('');

  test('is read as a short one, with turns for others in between', async () => {
    let turns = 0;
    let waiting = setImmediate(function next() {
      turns += 1;
      waiting = setImmediate(next);
    });
    const document = await parseLongDocument('f.yaml', text, long);
    clearImmediate(waiting);
    expect(turns).toBeGreaterThan(3);
    expect(document.value).toEqual(names.map((id) => ({ id })));
    expect(document.lineOf([2499, 'id'])).toBe(2500);
  });

  test.each([
    ['its syntax', `${text}- id: [`],
    ['a value', text.replace('id: name-2000', 'ID: a')],
    ['nothing in it', ''],
  ])('is refused as a short one for %s', async (_, wrong) => {
    let short: unknown;
    try {
      parseDocument('f.yaml', wrong, long);
    } catch (error) {
      short = error;
    }
    expect(short).toBeInstanceOf(InvalidConfig);
    await expect(parseLongDocument('f.yaml', wrong, long)).rejects.toEqual(short);
  });
});
