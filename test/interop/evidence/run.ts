import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunnerTask, RunnerTestCase } from 'vitest';
import type { Evidence } from './evidence.ts';

const SUITE = join(import.meta.dirname, '..');
/** Where the files of a run leave what they have seen, until the next run. */
const DIRECTORY = join(SUITE, 'out', 'evidence');

/** Evidence of a test that has passed. */
export type Seen = Evidence & { readonly tookMs?: number };

/** What one file of the suite has seen. */
export interface FileEvidence {
  /** Whether all that it can show was shown: no test of it failed, and none that shows something was left out. */
  readonly whole: boolean;
  readonly seen: readonly Seen[];
}

/** What a run has seen, and which files of the suite are not whole: then it is no base for a document. */
export interface Run {
  readonly seen: readonly Seen[];
  readonly lacking: readonly string[];
}

export function forgetRun(): void {
  rmSync(DIRECTORY, { recursive: true, force: true });
  mkdirSync(DIRECTORY, { recursive: true });
}

/** @param name of the test file */
export function writeEvidence(name: string, file: FileEvidence): void {
  writeFileSync(join(DIRECTORY, `${name}.json`), JSON.stringify(file));
}

/** What the tests under a task have seen; one that was skipped, or failed, has seen nothing. */
export function evidenceOf(tasks: readonly RunnerTask[]): FileEvidence {
  const tests = tasks.flatMap(testsOf);
  const passed = tests.filter(({ result }) => result?.state === 'pass');
  const unseen = tests.filter(({ result, meta }) => result?.state !== 'pass' && meta.evidence !== undefined);
  const failed = tests.some(({ result }) => result?.state === 'fail');
  const seen = passed.flatMap(({ meta }) =>
    (meta.evidence ?? []).map((item) => (meta.tookMs === undefined ? item : { ...item, tookMs: meta.tookMs })),
  );
  return { whole: !failed && unseen.length === 0, seen };
}

/** The last run, by what its files have left. */
export function lastRun(): Run {
  const names = readdirSync(SUITE).filter((name) => name.endsWith('.test.ts') && name !== 'compatibility.test.ts');
  const files = names.toSorted().map((name) => ({ name, file: read(name) }));
  return {
    seen: files.flatMap(({ file }) => file?.seen ?? []),
    lacking: files.filter(({ file }) => file?.whole !== true).map(({ name }) => name),
  };
}

function read(name: string): FileEvidence | undefined {
  try {
    return JSON.parse(readFileSync(join(DIRECTORY, `${name}.json`), 'utf8')) as FileEvidence;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function testsOf(task: RunnerTask): readonly RunnerTestCase[] {
  return task.type === 'suite' ? task.tasks.flatMap(testsOf) : [task];
}
