import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

const STEP = 8 * 1024 * 1024;

/**
 * How often some bytes stand in the memory of a process that can be written to. For root alone: no other process may look into an
 * agent.
 */
export function copiesIn(pid: number, wanted: Buffer): number {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    let copies = 0;
    for (const [start, end] of writableRanges(pid)) copies += copiesInRange(memory, start, end, wanted);
    return copies;
  } finally {
    closeSync(memory);
  }
}

function writableRanges(pid: number): (readonly [bigint, bigint])[] {
  const lines = readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n');
  return lines.flatMap((line) => {
    const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
    return start === undefined ? [] : [[BigInt(`0x${start}`), BigInt(`0x${end}`)] as const];
  });
}

/** In steps that overlap, so that what stands across two of them is found. */
function copiesInRange(memory: number, start: bigint, end: bigint, wanted: Buffer): number {
  const buffer = Buffer.alloc(STEP);
  let copies = 0;
  for (let at = start; at < end; at += BigInt(STEP - wanted.length + 1)) {
    const length = Number(end - at < BigInt(STEP) ? end - at : BigInt(STEP));
    let read = 0;
    try {
      read = readSync(memory, buffer, { length, position: at });
    } catch {
      // EIO: the range was given back meanwhile, or nothing was ever there.
      continue;
    }
    const found = buffer.subarray(0, read);
    for (let hit = found.indexOf(wanted); hit !== -1; hit = found.indexOf(wanted, hit + 1)) copies += 1;
  }
  buffer.fill(0);
  return copies;
}
