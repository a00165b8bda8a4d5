import { checked, libc } from './native.ts';

const PR_SET_DUMPABLE = 4;
const RLIMIT_CORE = 4;
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Keeps the agent's memory, which holds keys, out of core files, and out of reach of other processes of the same user
 * (`ptrace(2)`, `/proc/<pid>/mem`).
 *
 * @throws Error with `code`
 */
export function forbidDumps(): void {
  checked('prctl', libc.prctl(PR_SET_DUMPABLE, 0));
  checked('setrlimit', libc.setrlimit(RLIMIT_CORE, Buffer.alloc(16)));
}

/**
 * Takes the exclusive lock of an open file without waiting. It is given back when the descriptor is closed, so a crash gives it back
 * too.
 *
 * @returns false when somebody else has it
 * @throws Error with `code`
 */
export function lockFile(fd: number): boolean {
  try {
    checked('flock', libc.flock(fd, LOCK_EX | LOCK_NB));
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return false;
    throw error;
  }
}

/**
 * Ends the program at once, without waiting for the threads that Node would join: one of them may sit in a system call that never
 * returns (a directory service, a file system that is gone). Nothing more is flushed or run.
 */
export function exitNow(status: number): void {
  libc.exit(status);
}
