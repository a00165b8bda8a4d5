import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../kernel/clock.ts';
import { SystemClock } from '../kernel/clock.ts';
import { isLackOfRoom, messageOf, systemCodeOf } from '../kernel/errors.ts';

/** What a command sees of the process that it runs in. A test gives its own. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Absolute. */
  readonly cwd: string;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  /** Results alone. `rows` and `columns` where it is a terminal. */
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly rows?: number; readonly columns?: number };
  /** Everything that is said beside them. */
  readonly stderr: Writable;
  readonly clock: Clock;
  /** From 0 up to 1, for the jitter of retries. */
  readonly random: () => number;
  /** Catches the ways in which a command is ended from outside, for commands that run until then. */
  interruption(): Interruption;
}

/** While it is not disposed of, the process lives on and is told of its end by `signal` instead of ended. */
export interface Interruption extends Disposable {
  readonly signal: AbortSignal;
}

// A closed terminal is an end too: what was written for this process has to go with it.
const ENDS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The process' own. May be made once: it takes the errors of its streams over. */
export function processTerminal(): Terminal {
  const held = new Set<AbortController>();
  let isOver = false;
  process.stdout.on('error', (error) => {
    // A reader that has read enough, as `head` does, is no failure of ours.
    if (!isOver && systemCodeOf(error) !== 'EPIPE') failUnwritten(error);
    isOver = true;
    if (held.size === 0) process.exit();
    for (const controller of held) controller.abort();
  });
  // Nobody is left who could be told.
  process.stderr.on('error', () => {});
  return {
    env: process.env,
    cwd: process.cwd(),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    clock: new SystemClock(),
    random: Math.random,
    interruption: () => interruption(held),
  };
}

/** What was printed has not arrived: whoever reads it must not take it for all that there is. */
function failUnwritten(error: Error): void {
  const message = `what this prints cannot be written, send it elsewhere or make room: ${messageOf(error)}`;
  const code = isLackOfRoom(error) ? 'DISK_FULL' : 'PERMISSION_MISSING';
  const asJson = process.argv.includes('--json');
  process.stderr.write(asJson ? `${JSON.stringify({ error: { code, message } })}\n` : `mayfly: ${message}\n`);
  process.on('exit', () => {
    process.exitCode = 1;
  });
}

function interruption(held: Set<AbortController>): Interruption {
  const controller = new AbortController();
  // A second signal changes nothing: npm passes on the Ctrl-C that the terminal has sent to the whole group already.
  const abort = () => controller.abort();
  for (const end of ENDS) process.on(end, abort);
  held.add(controller);
  // Between two attempts to reach the agent nothing else is open.
  const alive = setInterval(() => {}, LONGEST_TIMER_MS);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      clearInterval(alive);
      held.delete(controller);
      for (const end of ENDS) process.off(end, abort);
    },
  };
}
