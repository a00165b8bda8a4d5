import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { clientCommands } from '../../../agent/cli/commands.ts';
import { devCommand } from '../../../agent/cli/dev.ts';
import { globalOptions } from '../../../agent/cli/program.ts';
import { runCommand } from '../../../agent/cli/run.ts';
import { alertRules } from '../../support/monitoring.ts';
import { TestTerminal } from '../cli/transcript.ts';
import { type Document, documents, proseOf, ROOT, readDocument, tableRows } from './documents.ts';

const terminal = new TestTerminal();
const program = globalOptions(devCommand(terminal).createCommand('mayfly'));
for (const command of [
  devCommand(terminal),
  runCommand(terminal),
  ...(await Promise.all(clientCommands.map(({ load }) => load(terminal)))),
]) {
  program.addCommand(command);
}

/** What is wrong with a command line as it is told to people, behind `mayfly`: a command or an option that there is not. */
function defects(line: string): readonly string[] {
  let command: Command = program;
  const wrong: string[] = [];
  for (const word of line.trim().split(/\s+/)) {
    const flag = /^--?[a-z][\w-]*/.exec(word)?.[0];
    const next = command.commands.find((child) => child.name() === word);
    if (next !== undefined) command = next;
    else if (flag !== undefined && !flagsOf(command).has(flag)) wrong.push(`${pathOf(command)} has no ${flag}`);
    // What is in capitals stands for something, and a path is the value of an option.
    else if (flag === undefined && command.commands.length > 0 && /^[a-z][a-z-]*$/.test(word)) {
      return [`${pathOf(command)} has no ${word}`];
    }
  }
  return wrong;
}

function flagsOf(command: Command): ReadonlySet<string> {
  const all = [...command.options, ...program.options].flatMap(({ long, short }) => [long, short]);
  return new Set(['--help', '-h', ...all.filter((flag) => typeof flag === 'string')]);
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

/** The command lines in code, between backticks or in a block. */
function toldIn(document: Document): readonly string[] {
  const blocks = [...document.text.matchAll(/^```\w*\n(.*?)^```$/gms)].flatMap(([, block = '']) => block.split('\n'));
  const spans = [...proseOf(document).matchAll(/`([^`]+)`/g)].map(([, span = '']) => span);
  return [...blocks, ...spans].flatMap((code) => {
    const line = code.replace(/^\$ /, '').split(/ [&|#] ?| 2>| && |'$/)[0] ?? '';
    const told = /^(?:mayfly|npm run -s mayfly --) (.+)$/.exec(line)?.[1];
    return told === undefined ? [] : [told];
  });
}

test('a command line that would be refused is noticed', () => {
  expect(defects('fetch x509 --wirte DIR')).toEqual(['mayfly fetch x509 has no --wirte']);
  expect(defects('fetsh x509')).toEqual(['mayfly has no fetsh']);
  expect(defects('audit verfy')).toEqual(['mayfly audit has no verfy']);
  expect(defects('leases --pid 1 --json')).toEqual([]);
  expect(defects('--socket /run/mayfly/api.sock status')).toEqual([]);
});

describe.each(documents)('$path', (document) => {
  test('calls commands as they are', () => {
    expect(toldIn(document).flatMap(defects)).toEqual([]);
  });
});

test('documents call commands', () => {
  expect(documents.flatMap(toldIn).length).toBeGreaterThan(40);
});

test('the table of commands in the README has options that they have', () => {
  const rows = tableRows(readDocument('README.md')).filter(([cell]) => /^`[a-z]+[` ]/.test(cell ?? ''));
  const known = rows.filter(([cell]) => program.commands.some((child) => cell?.startsWith(`\`${child.name()}`)));
  expect(known.length).toBeGreaterThan(20);
  for (const [cell = '', does = ''] of known) {
    const lines = [...cell.matchAll(/`([^`]+)`/g)].map(([, line = '']) => line);
    expect(lines.flatMap(defects)).toEqual([]);
    const flags = [...does.matchAll(/`(--[a-z-]+)/g)].map(([, flag = '']) => flag);
    // Of a row with several commands, one of them has it.
    const missing = flags.filter((flag) =>
      lines.every((line) => defects(`${withoutOptions(line)} ${flag}`).length > 0),
    );
    expect(missing, cell).toEqual([]);
  }
});

test('what the program says of its own commands is so', () => {
  const sources = globSync('agent/**/*.ts', { cwd: ROOT }).map((path) => readFileSync(join(ROOT, path), 'utf8'));
  const told = sources.flatMap((text) => [...text.matchAll(/'mayfly ([a-z][^'$]*)'/g)].map(([, line = '']) => line));
  expect(told.length).toBeGreaterThan(10);
  expect(told.flatMap(defects)).toEqual([]);
});

test('alerts name commands that there are', () => {
  const told = alertRules().flatMap(({ annotations }) => [
    ...`${annotations['action']}`.matchAll(/\bmayfly (?!and\b)([a-z]+)/g),
  ]);
  expect(told.length).toBeGreaterThan(10);
  expect(told.flatMap(([, name = '']) => defects(name))).toEqual([]);
});

function withoutOptions(line: string): string {
  return line.replace(/ (?:-|[A-Z]).*$/, '');
}
