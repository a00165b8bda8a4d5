import { NO_FACTS } from '../../agent/peer/facts.ts';
import type { InstanceEnd, ProcessInstance } from '../../agent/peer/instance.ts';

/** Which run of the machine tests without a machine are in. */
export const BOOT_ID = '00000000-0000-0000-0000-000000000000';

export interface TestInstance extends ProcessInstance {
  /** Ends the instance, as its process' exit would. */
  finish(reason: InstanceEnd): void;
  /** How many holds were taken and not released. */
  readonly holds: number;
}

let pids = 1000;

/** A process instance without a process, for stages that only ask whether it lives. */
export function livingInstance(uid = 1000): TestInstance {
  pids += 1;
  const listeners = new Set<(reason: InstanceEnd) => void>();
  let end: InstanceEnd | undefined;
  let holds = 0;
  return {
    key: `${pids}.1`,
    pid: pids,
    uid,
    gid: uid,
    startTime: '1',
    bootId: BOOT_ID,
    proof: 'pidfd',
    facts: () => NO_FACTS,
    get end() {
      return end;
    },
    get holds() {
      return holds;
    },
    alive: () => end === undefined,
    onEnd(run) {
      if (end === undefined) listeners.add(run);
      else run(end);
      return () => void listeners.delete(run);
    },
    hold() {
      holds += 1;
      let held = true;
      return () => {
        if (held) holds -= 1;
        held = false;
      };
    },
    finish(reason) {
      end = reason;
      for (const run of listeners) run(reason);
      listeners.clear();
    },
  };
}
