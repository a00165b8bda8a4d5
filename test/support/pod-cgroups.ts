import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { eventually } from './json-lines.ts';

// One of the places of a kubelet, and not the one that it takes unless told: where a real one runs beside the tests, it clears that up.
const PARENTS = ['kubelet', 'kubelet/kubepods', 'kubelet/kubepods/burstable'];

/** Where root can make cgroups in the unified hierarchy; `undefined` where nobody can. */
export const UNIFIED: string | undefined =
  process.getuid?.() === 0
    ? readFileSync('/proc/mounts', 'utf8')
        .split('\n')
        .map((line) => line.split(' '))
        .find(([, , type, options]) => type === 'cgroup2' && options?.startsWith('rw'))?.[1]
    : undefined;

/** The cgroups of containers as a kubelet makes them, with real processes in them. */
export class PodCgroups implements AsyncDisposable {
  readonly #root: string;
  readonly #made = new Set<string>();

  /** @param root {@link UNIFIED} */
  constructor(root: string) {
    this.#root = root;
  }

  /** Puts a process into a container of a pod. */
  enter(pid: number, podUid: string, containerId: string): void {
    const pod = join(this.#root, 'kubelet/kubepods/burstable', `pod${podUid}`);
    const container = join(pod, containerId);
    for (const directory of [...PARENTS.map((each) => join(this.#root, each)), pod, container]) {
      mkdirSync(directory, { recursive: true });
    }
    this.#made.add(container);
    writeFileSync(join(container, 'cgroup.procs'), String(pid));
  }

  /** Removes them; their processes have to be over. */
  async [Symbol.asyncDispose](): Promise<void> {
    const containers = [...this.#made];
    const pods = new Set(containers.map((each) => dirname(each)));
    for (const each of [...containers, ...pods]) {
      await eventually(`nobody is in ${each}`, () => (removed(each) ? true : undefined));
    }
    // Another test may have some of its own in them.
    for (const each of PARENTS.toReversed()) removed(join(this.#root, each));
  }
}

function removed(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch {
    return false;
  }
}
