import { setImmediate } from 'node:timers/promises';
import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
  type Range,
} from 'yaml';
import { type DocumentPath, formatPath, InvalidConfig, type Place, type Problem, show } from './problem.ts';

/** A YAML text as plain values, and where each of them stands in it. */
export interface YamlTree {
  /** Objects, arrays, strings, numbers, booleans and null; `null` for an empty text. */
  readonly value: unknown;
  /** Where the value at `path` stands, or the nearest thing around it that is there. */
  placeOf(path: DocumentPath): Place;
  /** Where the last key of `path` stands, rather than its value. */
  placeOfKey(path: DocumentPath): Place;
  /** Whether something is written at `path`. */
  has(path: DocumentPath): boolean;
}

// The composer recurses: a few thousand levels take the whole process down, not just the parse.
const MAX_DEPTH = 64;

// A few milliseconds' worth.
const TOKENS_IN_A_TURN = 5000;

/**
 * Reads one YAML 1.2 document of the core schema. What makes YAML surprising is refused: tabs as indentation, duplicate keys, keys
 * that are no text, anchors, aliases and merge keys (a few lines of them are gigabytes of values), tags, directives, a second
 * document, NUL bytes.
 *
 * @param file its name, for messages
 * @throws InvalidConfig with all of them
 */
export function readTree(file: string, text: string): YamlTree {
  const turns = reading(file, text);
  for (;;) {
    const turn = turns.next();
    if (turn.done === true) return turn.value;
  }
}

/**
 * {@link readTree} for texts of megabytes, which take a second or more of the thread that serves everybody: whoever waits for it has
 * his turn in between.
 *
 * @throws InvalidConfig as `readTree`
 */
export async function readLongTree(file: string, text: string): Promise<YamlTree> {
  const turns = reading(file, text);
  for (;;) {
    const turn = turns.next();
    if (turn.done === true) return turn.value;
    await setImmediate();
  }
}

function* reading(file: string, text: string): Generator<undefined, YamlTree> {
  const lines = new LineCounter();
  const problems: Problem[] = [];
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { source: file, line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const context: Reading = {
    lines,
    refuse: (offset, path, message) => problems.push({ ...placeAt(offset), path: formatPath(path), message }),
  };
  const document = yield* compose(text, context);
  yield;
  const value = plain(document?.contents, [], context);
  if (problems.length > 0) throw new InvalidConfig(problems);

  const place = (path: DocumentPath, key: boolean): Place => placeAt(offsetOf(document?.contents ?? null, path, key));
  return {
    value,
    placeOf: (path) => place(path, false),
    placeOfKey: (path) => place(path, true),
    has: (path) => document?.hasIn(path) === true,
  };
}

interface Reading {
  readonly lines: LineCounter;
  readonly refuse: (offset: number, path: DocumentPath, message: string) => void;
}

function* compose(text: string, { lines, refuse }: Reading): Generator<undefined, Document | undefined> {
  const parser = new Parser(lines.addNewLine);
  const composer = new Composer({
    prettyErrors: false,
    uniqueKeys: false,
    lineCounter: lines,
    version: '1.2',
    logLevel: 'silent',
  });
  const documents: Document[] = [];
  lines.addNewLine(0);
  let tokens = 0;
  for (const lexeme of new Lexer().lex(text)) {
    tokens += 1;
    if (tokens % TOKENS_IN_A_TURN === 0) yield;
    for (const token of parser.next(lexeme)) documents.push(...(composer.next(token) as Iterable<Document>));
    if (parser.stack.length > MAX_DEPTH) {
      refuse(parser.offset, [], `is nested more than ${MAX_DEPTH} levels deep`);
      return undefined;
    }
  }
  for (const token of parser.end()) documents.push(...(composer.next(token) as Iterable<Document>));
  documents.push(...(composer.end() as Iterable<Document>));

  const nul = text.indexOf('\0');
  if (nul >= 0) refuse(nul, [], 'has a NUL byte; the file is damaged or is no text');
  const [document, second] = documents;
  if (second !== undefined) refuse(second.range?.[0] ?? 0, [], 'a second document starts here; a file holds one');
  for (const error of document?.errors ?? []) {
    refuse(error.pos[0], [], SYNTAX[error.code] ?? `is no YAML: ${lowerFirst(error.message)}`);
  }
  const hasDirective = document?.directives?.yaml.explicit === true;
  if (hasDirective || document?.warnings.some(({ code }) => code === 'BAD_DIRECTIVE') === true) {
    refuse(0, [], 'directives (%YAML, %TAG) are not allowed; the file is read as YAML 1.2');
  }
  return document;
}

const SYNTAX: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'a tab is no indentation; indent with spaces',
};

/** Turns a node into plain values; refuses what is not plain. Recursion is bounded by {@link MAX_DEPTH}. */
function plain(node: unknown, path: DocumentPath, reading: Reading): unknown {
  const { refuse, lines } = reading;
  if (node === null || node === undefined) return null;
  const { range, tag, anchor } = node as { range?: Range | null; tag?: string; anchor?: string };
  const offset = range?.[0] ?? 0;
  if (isAlias(node)) {
    refuse(offset, path, `the alias *${node.source} is not allowed; write the value out`);
    return null;
  }
  if (anchor !== undefined)
    refuse(offset, path, `the anchor &${anchor} is not allowed; write the value out where it is needed`);
  if (tag !== undefined) refuse(offset, path, `the tag ${tag} is not allowed; quote a value to make it text`);
  if (isScalar(node)) return node.value;
  if (isSeq(node)) return node.items.map((item, index) => plain(item, [...path, index], reading));
  if (!isMap(node)) return null;

  const value: Record<string, unknown> = {};
  const seen = new Map<string, number>();
  for (const { key, value: child } of node.items) {
    const keyOffset = (key as Node | null)?.range?.[0] ?? offset;
    if (!isScalar(key) || typeof key.value !== 'string') {
      refuse(keyOffset, path, `${isScalar(key) ? show(key.value) : 'this'} is no key; a key is text`);
      continue;
    }
    const name = key.value;
    const at = [...path, name];
    const first = seen.get(name);
    if (key.anchor !== undefined || key.tag !== undefined) refuse(keyOffset, at, 'a key takes no anchor and no tag');
    if (name === '<<') refuse(keyOffset, at, 'merge keys are not allowed; write the values out');
    else if (name === '__proto__') refuse(keyOffset, at, 'is no known key');
    else if (first !== undefined) refuse(keyOffset, at, `stands here a second time; it first stood on line ${first}`);
    else value[name] = plain(child, at, reading);
    seen.set(name, first ?? lines.linePos(keyOffset).line);
  }
  return value;
}

/** The offset of the deepest thing along `path` that is there. */
function offsetOf(root: unknown, path: DocumentPath, lastKey: boolean): number {
  let node: unknown = root;
  let offset = (root as Node | null)?.range?.[0] ?? 0;
  for (const [depth, part] of path.entries()) {
    let key: unknown;
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === part);
      key = pair?.key;
      node = pair?.value;
    } else if (isSeq(node)) {
      node = node.items[part as number];
    } else {
      node = undefined;
    }
    if (key === undefined && node === undefined) return offset;
    const keyOffset = (key as Node | undefined)?.range?.[0];
    const valueOffset = (node as Node | null | undefined)?.range?.[0];
    const wantsKey = lastKey && depth === path.length - 1;
    offset = (wantsKey ? keyOffset : undefined) ?? valueOffset ?? keyOffset ?? offset;
  }
  return offset;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
