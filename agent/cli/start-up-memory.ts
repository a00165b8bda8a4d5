import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Alarm, Clock } from '../kernel/clock.ts';
import { returnFreedMemory } from '../peer/system/memory.ts';

// By then the first callers of a node that boots have been served.
const SETTLED_MS = 2000;

/**
 * Gives back what only the start needed: parsed documents, module sources, schemas. V8 collects it under pressure alone, and an
 * agent at rest is under none; malloc keeps what was freed. Together it is a seventh of what would stay resident. Takes some 20 ms,
 * once.
 *
 * @returns how to leave it
 */
export function releaseStartUpMemory(clock: Clock): Alarm {
  return clock.after(SETTLED_MS, () => {
    setFlagsFromString('--expose-gc');
    const collect: unknown = runInNewContext('gc');
    setFlagsFromString('--no-expose-gc');
    if (typeof collect === 'function') collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    returnFreedMemory();
  });
}
