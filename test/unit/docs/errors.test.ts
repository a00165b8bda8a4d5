import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../../agent/kernel/errors.ts';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { statusOf } from '../../../agent/serve/status.ts';
import { ROOT, readDocument, tableRows } from './documents.ts';

// The codes are a type, of which nothing is left when the program runs.
const source = readFileSync(join(ROOT, 'agent/kernel/errors.ts'), 'utf8');
const codes = [...source.matchAll(/^ {2}\| '([A-Z0-9_]+)'/gm)].map(([, code]) => code as ErrorCode);
const rows = tableRows(readDocument('docs/errors.md')).filter(([code]) => /^`[A-Z0-9_]+`$/.test(code ?? ''));
const cellsOf = (code: ErrorCode): readonly string[] => rows.find(([cell]) => cell === `\`${code}\``) ?? [];

describe('docs/errors.md', () => {
  test('has one row for each code, and none for what is no code', () => {
    expect(codes.length).toBeGreaterThan(30);
    expect(rows).toHaveLength(codes.length);
    expect(new Set(rows.map(([cell]) => cell))).toEqual(new Set(codes.map((code) => `\`${code}\``)));
  });

  test.each(codes)('%s has the status and the text that a client gets', (code) => {
    const { code: number, details } = statusOf(new MayflyError(code, 'the sentence of the error'));
    const text = details === 'the sentence of the error' ? 'its message' : `"${details}"`;
    expect(cellsOf(code)[3]).toBe(`\`${status[number]}\` ${text}`);
  });

  test.each(codes)('%s says what it means, who sees it and what to do', (code) => {
    expect(cellsOf(code)).toHaveLength(5);
    for (const cell of cellsOf(code)) expect(cell).not.toBe('');
  });
});
