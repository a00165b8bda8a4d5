import { parentPort, workerData } from 'node:worker_threads';
import { Epoll } from './system/epoll.ts';
import { ProcessConnector } from './system/process-connector.ts';

/** What `exit-watch.ts` starts this thread with. */
export interface ExitWorkerData {
  readonly epoll: number;
  /** The token that means: stop. */
  readonly stop: number;
  /** How far this thread is, where the main thread may wait for it: 0 starting, 1 running, 2 ended. */
  readonly state: Int32Array<SharedArrayBuffer>;
  /** The token of the process connector, or `undefined` when it is not to be used. */
  readonly connector: number | undefined;
}

/** What this thread tells: exits by their tokens, whether changes of processes are told and why not, and those changes. */
export type ExitWorkerMessage =
  | { readonly kind: 'exits'; readonly tokens: readonly number[] }
  | { readonly kind: 'connector'; readonly reason: string }
  | { readonly kind: 'changes'; readonly pids: readonly number[]; readonly lost: boolean };

// A thread inside a system call cannot be ended from outside, and Node waits for all its threads. Whichever way out has forgotten to
// wake this one waits no longer than that.
const WAIT_MS = 200;
// Changes are gathered for so long after the last that were told: a build starts a thousand programs a second, and none is held.
const GATHER_MS = 10;

const { epoll: descriptor, stop, connector: token, state } = workerData as ExitWorkerData;
reached(1);
const epoll = new Epoll(descriptor);
let connector = token === undefined ? undefined : connect(token);
let gathering = false;
for (;;) {
  const tokens = epoll.wait(gathering ? GATHER_MS : WAIT_MS);
  if (tokens.includes(stop)) break;
  if (gathering && connector !== undefined && token !== undefined) epoll.again(connector.descriptor, token);
  gathering = token !== undefined && tokens.includes(token);
  const exits = gathering ? tokens.filter((it) => it !== token) : tokens;
  if (exits.length > 0) post({ kind: 'exits', tokens: exits });
  if (gathering) tellChanges();
}
connector?.close();
reached(2);

function connect(token: number): ProcessConnector | undefined {
  const opened = ProcessConnector.open();
  const reason = typeof opened === 'string' ? opened : '';
  post({ kind: 'connector', reason });
  if (typeof opened === 'string') return undefined;
  epoll.add(opened.descriptor, token, 'once');
  return opened;
}

function tellChanges(): void {
  try {
    const received = connector?.receive();
    if (received !== undefined) post({ kind: 'changes', ...received });
  } catch (error) {
    connector?.close();
    connector = undefined;
    post({ kind: 'connector', reason: `the process connector has failed: ${String(error)}` });
  }
}

function reached(how: 1 | 2): void {
  Atomics.store(state, 0, how);
  Atomics.notify(state, 0);
}

function post(message: ExitWorkerMessage): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, no window's
  parentPort?.postMessage(message);
}
