import type { ProcessInstance } from '../../peer/instance.ts';
import { readText } from '../../peer/system/proc.ts';
import { containerIn } from './container-id.ts';
import type { ContainerPlace } from './container-path.ts';

/**
 * Which container a process is in, by what the kernel says of it now. Procfs answers from memory and is asked in line.
 *
 * @throws Error when that cannot be told: also where `/proc` hides the process from the agent
 */
export function containerOf({ pid }: Pick<ProcessInstance, 'pid'>): ContainerPlace | undefined {
  const cgroup = readText(`/proc/${pid}/cgroup`);
  if (cgroup === undefined) throw new Error(`/proc/${pid}/cgroup cannot be read`);
  return containerIn(cgroup, readText(`/proc/${pid}/mountinfo`));
}
