import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { SystemClock } from '../../agent/kernel/clock.ts';
import { ExitWatch } from '../../agent/peer/exit-watch.ts';
import { Instances } from '../../agent/peer/process.ts';
import { openPidfd } from '../../agent/peer/system/pidfd.ts';

/** What it costs to notice that processes become something else. */
export interface WatchCost {
  readonly processes: number;
  /** Percent of one processor that looking at all of them takes, at rest. */
  readonly percent: number;
  /** Microseconds of one look at a process at a call: after a while, and once more within a tenth of a second. */
  readonly look: number;
  readonly again: number;
  readonly kind: string;
}

// A process that has run a moment ago costs more, and these have just begun.
const SETTLED_MS = 12_000;

/** Holds so many sleeping processes as an agent does, and lets it look. Needs four descriptors for each. */
export async function watchCost(processes = 4800): Promise<WatchCost> {
  const script = `i=0; while [ $i -lt ${processes} ]; do sleep 600 & i=$((i+1)); done; echo ready; wait`;
  // A group of its own, to be ended as one.
  const shell = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'], detached: true });
  const watch = new ExitWatch();
  const instances = new Instances(watch, new SystemClock());
  try {
    await once(shell.stdout, 'data');
    const children = readFileSync(`/proc/${shell.pid}/task/${shell.pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .map(Number);
    const [uid, gid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0];
    const held = children.slice(0, processes).flatMap((pid) => {
      const made = instances.attribute({ pid, uid, gid, pidfd: openPidfd(pid), proof: 'pidfd' });
      return made.kind === 'identified' ? [made.instance] : [];
    });
    await new Promise((resolve) => {
      setTimeout(resolve, SETTLED_MS);
    });
    const { kind, lookPercent } = instances.watching();
    const looks = [0, 1].map(() => {
      const began = performance.now();
      for (const instance of held) instance.alive();
      return ((performance.now() - began) * 1000) / held.length;
    });
    const [look = Number.NaN, again = Number.NaN] = looks;
    return { processes: held.length, percent: lookPercent, look, again, kind };
  } finally {
    instances.close();
    await watch.close();
    const ended = once(shell, 'close');
    process.kill(-(shell.pid ?? 0), 'SIGKILL');
    await ended;
  }
}
