import type { InstanceEnd, InstanceFacts, ProcessInstance } from './instance.ts';

/** What an earlier run of the agent wrote down of an instance. */
export interface RecordedInstance {
  readonly bootId: string;
  readonly pid: number;
  readonly startTime: string;
  readonly uid: number;
  readonly gid: number;
  readonly facts: InstanceFacts;
}

/** An instance of an earlier run that lives on: the one of this run that stands for it, held until `release`. */
export interface Adopted {
  readonly kind: 'adopted';
  readonly instance: ProcessInstance;
  readonly release: () => void;
}

/**
 * Why an instance of an earlier run does not live on: its process is `gone`, or another one has its number (`replaced`), the machine
 * was started again, it became something else meanwhile, or nobody can tell.
 */
export interface NotAdopted {
  readonly kind: 'gone' | 'replaced' | 'rebooted' | 'unverifiable' | Exclude<InstanceEnd, 'exited'>;
  readonly detail: string;
}

export type Adoption = Adopted | NotAdopted;

/** Makes a {@link NotAdopted}. */
export function notAdopted(kind: NotAdopted['kind'], detail: string): NotAdopted {
  return { kind, detail };
}

/** What the living holder of a number is, as far as it is to be compared. */
export type Holder = Pick<ProcessInstance, 'startTime' | 'uid' | 'gid' | 'facts'>;

/**
 * What tells the holder of a number from the instance that was recorded under it; `undefined` when it is the same process and program,
 * and nothing about it has changed. It fails closed: what cannot be compared counts as not the same.
 */
export function differenceFrom(recorded: RecordedInstance, holder: Holder): NotAdopted | undefined {
  const { pid } = recorded;
  const [before, now] = [recorded.facts, holder.facts()];
  if (isOther(recorded.startTime, holder.startTime) || isOther(before.inode, now.inode)) {
    return notAdopted('replaced', `the number ${pid} belongs to another process now`);
  }
  if (holder.uid !== recorded.uid || holder.gid !== recorded.gid) {
    return notAdopted('changed-ids', `process ${pid} runs as ${ids(holder)} now, and ran as ${ids(recorded)}`);
  }
  if (isOther(fileOf(before.executable), fileOf(now.executable)) || isOther(before.layout, now.layout)) {
    return notAdopted('executed', `process ${pid} has executed ${now.executable ?? 'another program'} since`);
  }
  if (isOther(before.cgroup, now.cgroup)) {
    return notAdopted('changed-cgroup', `process ${pid} is in cgroup ${now.cgroup} now, and was in ${before.cgroup}`);
  }
  const entered = Object.entries(now.namespaces ?? {}).find(([kind, inode]) =>
    isOther(before.namespaces?.[kind], inode),
  );
  if (entered !== undefined) {
    return notAdopted('changed-namespace', `process ${pid} has entered another ${entered[0]} namespace since`);
  }
  const missing: string[] = MUST_BE_KNOWN.filter((fact) => before[fact] === undefined || now[fact] === undefined);
  if (recorded.startTime === UNKNOWN || holder.startTime === UNKNOWN) missing.push('start time');
  if (missing.length === 0) return undefined;
  return notAdopted(
    'unverifiable',
    `whether process ${pid} still is what it was cannot be told: ${missing.join(', ')}`,
  );
}

/** What stands in the place of a start time that `/proc` hides. */
export const UNKNOWN = 'unknown';

/** The inode is not among them: where the kernel has none, the start time tells processes apart. */
const MUST_BE_KNOWN = ['executable', 'cgroup', 'namespaces', 'layout'] as const;

function isOther(before: string | undefined, now: string | undefined): boolean {
  if (before === undefined || now === undefined || before === UNKNOWN || now === UNKNOWN) return false;
  return before !== now;
}

/** An upgrade has replaced the file of a program that goes on running: that is no other program. */
function fileOf(executable: string | undefined): string | undefined {
  return executable?.replace(/ \(deleted\)$/, '');
}

function ids({ uid, gid }: { readonly uid: number; readonly gid: number }): string {
  return `${uid}:${gid}`;
}
