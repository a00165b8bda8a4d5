import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { systemCodeOf } from '../../kernel/errors.ts';
import { libc, uninterrupted } from './native.ts';
import type { Ids } from './pidfd.ts';

// Fields of /proc/<pid>/stat as proc(5) numbers them. They are counted from field 3 on, the first behind the name, which may hold
// blanks and parentheses.
const STATE = 3;
const FLAGS = 9;
const START_TIME = 22;
// startcode, endcode, startstack; start_data, end_data, start_brk, arg_start, arg_end, env_start, env_end
const LAYOUT = [26, 27, 28, 45, 46, 47, 48, 49, 50, 51];
// The bit of the flags that stands from the moment in which a thread begins to end (PF_EXITING of the kernel's sched.h).
const EXITING = 0x4;
// What stands in the place of startcode for somebody who may not know (0 where there is no memory).
const HIDDEN = new Set(['0', '1']);

// Read into and made a string of within one synchronous call each.
const text = Buffer.alloc(65_536);

/**
 * When a process started, in clock ticks since boot: field 22 of `/proc/<pid>/stat`. `undefined` where there is no such process, or
 * `/proc` hides it (`hidepid`).
 */
export function readStartTime(pid: number): string | undefined {
  const stat = readStat(pid);
  return stat === undefined ? undefined : startTimeIn(stat);
}

/** The start time in the text of a `/proc/<pid>/stat`; `undefined` when it is none. */
export function startTimeIn(stat: string): string | undefined {
  const [ticks] = fieldsOf(stat, [START_TIME]);
  return ticks !== undefined && /^\d+$/.test(ticks) ? ticks : undefined;
}

/**
 * Where the program, stack, heap, arguments and environment of a process lie, in the text of a `/proc/<pid>/stat`; `undefined` when
 * it is not told: it takes `PTRACE_MODE_READ`, and a first thread that is not over.
 */
export function layoutIn(stat: string): string | undefined {
  const fields = fieldsOf(stat, LAYOUT);
  const [start] = fields;
  return start === undefined || HIDDEN.has(start) || fields.includes(undefined) ? undefined : fields.join(' ');
}

/**
 * True when the first thread of a process is over or ending, whatever the others do. Of its namespaces nothing is told any more, and
 * while it ends the kernel takes it out of its cgroup, before its state says so and before its pidfd does.
 */
export function firstThreadIsOver(pid: number): boolean {
  const stat = readStat(pid);
  if (stat === undefined) return true;
  const [state, flags] = fieldsOf(stat, [STATE, FLAGS]);
  return ['Z', 'X'].includes(state ?? '') || (Number(flags) & EXITING) !== 0;
}

/** The text of `/proc/<pid>/stat`. */
export function readStat(pid: number): string | undefined {
  return readText(`/proc/${pid}/stat`);
}

/**
 * A field in the text of a `/proc/<pid>/status`: `Groups`. A line ends with a newline and with nothing else. The process chooses its
 * name in the first one, and the kernel keeps only newlines out of that: what passes for an end of a line elsewhere may stand in it,
 * with another field behind it that says what the process likes.
 */
export function statusField(status: string, name: string): string | undefined {
  const start = `${name}:`;
  const line = status.split('\n').find((each) => each.startsWith(start));
  return line?.slice(start.length).trim();
}

function fieldsOf(stat: string, numbers: readonly number[]): (string | undefined)[] {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return numbers.map((number) => fields[number - STATE]?.trim());
}

/** The number that the kernel drew when it started. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/**
 * The effective ids of a process, from the owner of `/proc/<pid>`: of that directory the kernel tells them even where the process is
 * not dumpable. `undefined` where there is no such process, or `/proc` hides it.
 */
export function ownerOf(pid: number): Ids | undefined {
  const stat = statSync(`/proc/${pid}`, { throwIfNoEntry: false });
  return stat === undefined ? undefined : { uid: stat.uid, gid: stat.gid };
}

/**
 * The text of a file in `/proc`, up to 64 KiB of it; `undefined` where there is none, or the agent may not look. Of what has many lines, as
 * a `mountinfo`, the kernel gives a page at a time.
 */
export function readText(path: string): string | undefined {
  const fd = openText(path);
  if (fd === undefined) return undefined;
  try {
    let length = 0;
    for (;;) {
      const size = readInto(fd, length);
      if (size < 0 && length === 0) return undefined;
      if (size <= 0) return text.toString('latin1', 0, length);
      length += size;
    }
  } finally {
    closeSync(fd);
  }
}

// Of a file that a process makes as long as it likes, such as its `mountinfo`.
const MOST_SEARCHED = 1024 ** 2;

/**
 * Looks at a file of many lines in `/proc`, up to 1 MiB of it, until `isWanted` says yes; it may ask for no other file meanwhile. Nothing
 * is found where there is no such file, or the agent may not look.
 */
export function findLine(path: string, isWanted: (line: string) => boolean): void {
  const fd = openText(path);
  if (fd === undefined) return;
  try {
    let rest = '';
    for (let at = 0; at < MOST_SEARCHED; ) {
      const size = uninterrupted(() => libc.pread(fd, text, text.length, at));
      if (size <= 0) return;
      at += size;
      const lines = `${rest}${text.toString('latin1', 0, size)}`.split('\n');
      rest = lines.pop() ?? '';
      if (lines.some(isWanted)) return;
    }
  } finally {
    closeSync(fd);
  }
}

/**
 * Opens a file in `/proc` to be read again and again, which stays that of the one process; the caller's to close. `undefined` where
 * there is none, or the agent may not look.
 *
 * @throws Error with `code` when the agent is out of descriptors or memory: that is the agent's lack, not the process'
 */
export function openText(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (['EMFILE', 'ENFILE', 'ENOMEM'].includes(systemCodeOf(error) ?? '')) throw error;
    return undefined;
  }
}

/** What a file of {@link openText} that is made as a whole says now, up to 64 KiB of it; `undefined` when its process is over. */
export function readAgain(fd: number): string | undefined {
  const size = readInto(fd, 0);
  return size < 0 ? undefined : text.toString('latin1', 0, size);
}

function readInto(fd: number, at: number): number {
  return uninterrupted(() => libc.pread(fd, at === 0 ? text : text.subarray(at), text.length - at, at));
}
