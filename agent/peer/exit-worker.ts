import { parentPort, workerData } from 'node:worker_threads';
import { Epoll } from './system/epoll.ts';

/** What `exit-watch.ts` starts this thread with. */
export interface ExitWorkerData {
  readonly epoll: number;
  /** The token that means: stop. */
  readonly stop: number;
}

// A thread inside a system call cannot be ended from outside, and Node waits for all its threads. Whichever way out has forgotten to
// wake this one waits no longer than that.
const WAIT_MS = 200;

const { epoll: descriptor, stop } = workerData as ExitWorkerData;
const epoll = new Epoll(descriptor);
for (;;) {
  const tokens = epoll.wait(WAIT_MS);
  if (tokens.includes(stop)) break;
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, no window's
  if (tokens.length > 0) parentPort?.postMessage(tokens);
}
