import { closeSync, writeSync } from 'node:fs';
import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { MayflyError } from '../kernel/errors.ts';
import type { ExitWorkerData, ExitWorkerMessage } from './exit-worker.ts';
import { ProcessEvents } from './process-events.ts';
import { createEpoll, createEventfd, Epoll } from './system/epoll.ts';

const STOP = 0;
const CONNECTOR = 1;
// How far the thread is, as it says itself.
const STARTING = 0;
const RUNNING = 1;
// Far above what it takes.
const LONGEST_WAIT_MS = 1000;

/**
 * Tells when processes exit. One thread waits for all of them, and tells of many at once; the same thread waits for what the process
 * connector tells. It does not keep the program running, and is told to stop on every way out, since a thread that waits in the kernel
 * cannot be ended otherwise.
 */
export class ExitWatch {
  /** What else the kernel tells of processes, as long as this is open. */
  readonly events = new ProcessEvents();
  readonly #epoll = new Epoll(createEpoll());
  readonly #wake = createEventfd();
  readonly #watched = new Map<number, () => void>();
  readonly #worker: Worker;
  #lastToken = CONNECTOR;
  #closed: Promise<void> | undefined;
  readonly #state = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  readonly #stop = () => void writeSync(this.#wake, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]));

  /** @param connector whether to ask the process connector; nothing is told of changes otherwise */
  constructor(connector: 'asked' | 'left alone' = 'asked') {
    if (connector === 'left alone') this.events.settle('the process connector is left alone');
    this.#epoll.add(this.#wake, STOP, 'always');
    const workerData: ExitWorkerData = {
      epoll: this.#epoll.descriptor,
      stop: STOP,
      state: this.#state,
      connector: connector === 'asked' ? CONNECTOR : undefined,
    };
    this.#worker = new Worker(new URL('exit-worker.ts', import.meta.url), {
      name: 'exit-watch',
      workerData,
      execArgv: [],
      // It closes what it has made itself, which Node would warn of.
      trackUnmanagedFds: false,
      env: compileCache(),
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    });
    this.#worker.on('message', (message: ExitWorkerMessage) => this.#told(message));
    // Without it ended processes would keep their identity: that is a crash, never a limp. Its errors, having no listener, are too.
    this.#worker.on('exit', () => {
      if (this.#closed === undefined)
        throw new MayflyError('INTERNAL', 'the thread that waits for process exits has ended');
    });
    // Last: a listener for messages would keep the program running again.
    this.#worker.unref();
    process.on('exit', this.#stopAndWait);
  }

  /** How many processes are waited for. */
  get size(): number {
    return this.#watched.size;
  }

  /**
   * Calls `exited` once, when the process behind `pidfd` is over; never synchronously. The pidfd stays the caller's; it is to be
   * closed only after the returned function was called, which takes the request back.
   *
   * @throws Error with `code`: `ENOSPC` above `/proc/sys/fs/epoll/max_user_watches`, `ENOMEM`
   */
  add(pidfd: number, exited: () => void): () => void {
    const token = ++this.#lastToken;
    this.#epoll.add(pidfd, token, 'once');
    this.#watched.set(token, exited);
    let added = true;
    return () => {
      if (added && this.#closed === undefined) this.#epoll.remove(pidfd);
      added = false;
      this.#watched.delete(token);
    };
  }

  /** Stops the thread and waits until it is gone. Nothing is told any more from now on. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /**
   * For an exit that nobody could wait for: Node would end the thread where it is, and a thread that is ended while it loads native code
   * takes the whole program down with SIGABRT.
   */
  readonly #stopAndWait = () => {
    this.#stop();
    for (const state of [STARTING, RUNNING]) Atomics.wait(this.#state, 0, state, LONGEST_WAIT_MS);
  };

  #told(message: ExitWorkerMessage): void {
    switch (message.kind) {
      case 'exits':
        return message.tokens.forEach((token) => this.#exited(token));
      case 'connector':
        return this.events.settle(message.reason);
      case 'changes':
        return this.events.tell(message.pids, message.lost);
    }
  }

  #exited(token: number): void {
    const exited = this.#watched.get(token);
    this.#watched.delete(token);
    exited?.();
  }

  async #close(): Promise<void> {
    this.#watched.clear();
    process.off('exit', this.#stopAndWait);
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    this.#worker.once('exit', () => resolve());
    // It ended before its time: that was thrown, and is thrown by nobody here.
    if (this.#worker.threadId < 0) resolve();
    // Waited for from here on, so it must keep the program running.
    this.#worker.ref();
    this.#stop();
    await ended;
    closeSync(this.#epoll.descriptor);
    closeSync(this.#wake);
  }
}

/** The thread does not inherit the main thread's cache; without it, stripping types for itself costs the thread 20 MB. */
function compileCache(): NodeJS.ProcessEnv {
  const versioned = getCompileCacheDir();
  return versioned === undefined ? {} : { NODE_COMPILE_CACHE: dirname(versioned) };
}
