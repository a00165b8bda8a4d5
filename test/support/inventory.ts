// Loaded into an agent with `--import`: at SIGUSR2 it logs what lives in it: alarms that have neither rung nor been cancelled, by the
// file that has set them, descriptors by kind, and once no process is looked after any more, objects by class. From inside, since
// others may not look into an agent.
import { readdirSync, readlinkSync, writeSync } from 'node:fs';
import { queryObjects } from 'node:v8';
import { type Alarm, SystemClock } from '../../agent/kernel/clock.ts';
import { Lease } from '../../agent/lease/lease.ts';
import { Workload } from '../../agent/lease/workload.ts';
import { Connection } from '../../agent/peer/connection.ts';
import { HeldProcess } from '../../agent/peer/held-process.ts';

const CLASSES = { Connection, HeldProcess, Workload, Lease };

/** The `agent.inventory` line. */
export interface Inventory {
  /** Empty while a process is looked after: to count them takes a second. */
  readonly objects: Readonly<Partial<Record<keyof typeof CLASSES, number>>>;
  readonly alarms: Readonly<Record<string, number>>;
  /** `socket`, `anon_inode:[pidfd]`, or the path of a file. */
  readonly descriptors: Readonly<Record<string, number>>;
}

const alarms = new Map<string, number>();

function count(by: string, change: number): void {
  const left = (alarms.get(by) ?? 0) + change;
  if (left === 0) alarms.delete(by);
  else alarms.set(by, left);
}

for (const method of ['at', 'after'] as const) {
  const set = SystemClock.prototype[method];
  SystemClock.prototype[method] = function counted(this: SystemClock, time: number, run: () => void): Alarm {
    const by = /agent\/((?!kernel\/clock)[\w/-]+)\.ts/.exec(new Error().stack ?? '')?.[1] ?? 'unknown';
    let live = true;
    const over = () => {
      if (live) count(by, -1);
      live = false;
    };
    count(by, 1);
    const alarm = set.call(this, time, () => {
      over();
      run();
    });
    return {
      cancel: () => {
        over();
        alarm.cancel();
      },
    };
  };
}

process.on('SIGUSR2', () => {
  const counted = alarms.has('peer/process') ? [] : Object.entries(CLASSES);
  const objects = counted.map(([name, type]) => [name, queryObjects(type, { format: 'count' })]);
  const line = {
    event: 'agent.inventory',
    objects: Object.fromEntries(objects),
    alarms: Object.fromEntries(alarms),
    descriptors: descriptors(),
  };
  writeSync(2, `${JSON.stringify(line)}\n`);
});

function descriptors(): Record<string, number> {
  const kinds: Record<string, number> = {};
  for (const fd of readdirSync('/proc/self/fd')) {
    const kind = kindOf(`/proc/self/fd/${fd}`);
    if (kind !== undefined) kinds[kind] = (kinds[kind] ?? 0) + 1;
  }
  return kinds;
}

/** Sockets and pipes without their number; `undefined` for what the listing itself had open. */
function kindOf(link: string): string | undefined {
  try {
    return readlinkSync(link).replace(/^(socket|pipe):\[\d+\]$/, '$1');
  } catch {
    return undefined;
  }
}
