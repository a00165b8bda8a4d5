import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
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
    this.enterPath(pid, this.pathOf(podUid, containerId));
  }

  /** Where the container of a pod is, as a process' `cgroup` has it. */
  pathOf(podUid: string, containerId: string): string {
    return `/${PARENTS.at(-1)}/pod${podUid}/${containerId}`;
  }

  /** Puts a process into a cgroup of any name. */
  enterPath(pid: number, path: string): void {
    const names = path.split('/').slice(1);
    for (const count of names.keys()) {
      const each = names.slice(0, count + 1).join('/');
      mkdirSync(join(this.#root, each), { recursive: true });
      if (!PARENTS.includes(each)) this.#made.add(each);
    }
    writeFileSync(join(this.#root, path, 'cgroup.procs'), String(pid));
  }

  /** Removes them; their processes have to be over. */
  async [Symbol.asyncDispose](): Promise<void> {
    // What is below first.
    for (const each of [...this.#made].toSorted((a, b) => b.length - a.length)) {
      await eventually(`nobody is in ${each}`, () => (removed(join(this.#root, each)) ? true : undefined));
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
