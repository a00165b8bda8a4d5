// A process of two threads. When a line of input comes, the one that its argument names does what the next one says.
import { writeSync } from 'node:fs';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import koffi from 'koffi';

const library = koffi.load(null);
const call = library.func('long syscall(long, long, long)') as (number: number, a: number, b: number) => number;
const execv = library.func('int execv(const char *, const char **)') as (
  path: string,
  args: (string | null)[],
) => number;

const [who = '', what = '', number = ''] = process.argv.slice(2);
if (isMainThread) {
  const other = new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) });
  other.once('message', () => writeSync(1, 'on\n'));
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's, no window's
  process.stdin.on('data', () => (who === 'first' ? act() : other.postMessage('go')));
} else {
  parentPort?.on('message', act);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's, no window's
  parentPort?.postMessage('on');
}

function act(): void {
  if (what === 'exec') execv('/bin/sleep', ['sleep', '600', null]);
  const result = call(Number(number), 0x04000000, 0);
  writeSync(1, result === 0 ? 'done\n' : 'failed\n');
}
