import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { eventually } from '../../support/json-lines.ts';

const run = promisify(execFile);

const CGROUPS = '/sys/fs/cgroup';
const STOP_MS = 10_000;
/** The address of the machine; loopback will not do, for a kubelet or for the API server's way to it. */
export const ADDRESS = '10.99.0.1';
/** The address of the service `kubernetes`, which is the machine's as well: nothing else would lead there. */
export const SERVICE = '10.96.0.1';

/**
 * What makes the machine, run as process 1 of its namespaces:
 * - what is written lies in memory; `/var/lib`, `/var/log` and `/run`, of which kubelet and containerd have paths of their own, are the
 *   machine's;
 * - the kubelet sets sysctls of the whole host unless they read as it wants: it is shown files that do;
 * - the root is shared inside, which mounts of volumes need.
 */
const SET_UP = `
mount --make-rshared /
mount -t tmpfs -o mode=755,size=4g tmpfs "$1"
mkdir -p "$1/upper" "$1/work" "$1/sysctl"
for path in var/lib var/log; do
  name=$(echo $path | tr / -)
  mkdir -p "$1/upper/$name" "$1/work/$name"
  mount -t overlay overlay -o "lowerdir=/$path,upperdir=$1/upper/$name,workdir=$1/work/$name" "/$path"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /var/lib/kubelet /var/log/pods /var/log/containers
show() { echo "$2" > "$1"; mount --bind "$1" "/proc/sys/$3"; }
while read -r value name; do show "$1/sysctl/$(echo $name | tr / .)" "$value" "$name"; done <<END
1 vm/overcommit_memory
0 vm/panic_on_oom
10 kernel/panic
1 kernel/panic_on_oops
1000000 kernel/keys/root_maxkeys
25000000 kernel/keys/root_maxbytes
END
ip link set lo up
ip link add node0 type veth peer name node1
ip link set node0 up
ip link set node1 up
ip address add ${ADDRESS}/24 dev node0
ip address add ${SERVICE}/32 dev node0
ip route add default via 10.99.0.254 dev node0
echo ready
exec sleep infinity
`;

/**
 * A machine as far as a kubelet can tell: mounts, network and process numbers of its own. Its end is that of its process 1, with
 * which the kernel ends all its processes and takes down all its mounts; so nothing is left behind, also when a test run is killed.
 */
export class Machine implements AsyncDisposable {
  /** A directory in memory, of the machine alone. */
  readonly directory: string;
  /** Where what its programs write goes. */
  readonly logs: string;
  readonly #init: ChildProcess;
  readonly #pid: number;
  readonly #programs = new Set<MachineProgram>();

  private constructor(directory: string, logs: string, init: ChildProcess, pid: number) {
    this.directory = directory;
    this.logs = logs;
    this.#init = init;
    this.#pid = pid;
  }

  /** @param logs a directory, which is made anew @throws when this machine is a node already: both would share their cgroups */
  static async start(logs: string): Promise<Machine> {
    const taken = cgroupsOfPods();
    if (taken.some(hasProcesses)) throw new Error('there are pods on this machine already');
    for (const cgroup of taken) removeCgroups(cgroup);
    rmSync(logs, { recursive: true, force: true });
    mkdirSync(logs, { recursive: true });
    const directory = mkdtempSync(join(tmpdir(), 'mayfly-node-'));
    const namespaces = [
      '--mount',
      '--net',
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
      '--propagation',
      'private',
    ];
    const init = spawn('unshare', [...namespaces, 'sh', '-euc', SET_UP, 'machine', directory], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    init.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const [line] = (await Promise.race([
      once(createInterface({ input: init.stdout }), 'line'),
      once(init, 'close'),
    ])) as [unknown];
    const pid = childOf(init);
    if (line !== 'ready' || pid === undefined) {
      rmSync(directory, { recursive: true, force: true });
      throw new Error(`the namespaces of a machine could not be made:\n${stderr}`);
    }
    return new Machine(directory, logs, init, pid);
  }

  /** A path of the machine, for who is outside. */
  path(inside: string): string {
    return join('/proc', String(this.#pid), 'root', inside);
  }

  /** How to run something in it. */
  command(command: readonly string[]): readonly [string, ...string[]] {
    return ['nsenter', '--target', String(this.#pid), '--mount', '--net', '--pid', '--wd=/', '--', ...command];
  }

  /** Runs a command to its end. @returns what it has printed @throws when it fails, with what it said */
  async run(command: readonly string[], options: { readonly timeout?: number } = {}): Promise<string> {
    const [program, ...args] = this.command(command);
    return (await run(program, args, { timeout: 60_000, maxBuffer: 64 << 20, ...options })).stdout;
  }

  /** Starts a program that runs until it is stopped, at the latest with the machine. */
  start(name: string, command: readonly string[], env: Readonly<Record<string, string>> = {}): MachineProgram {
    const [program, ...args] = this.command(command);
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    const log = createWriteStream(join(this.logs, `${name}.log`), { flags: 'a' });
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    const started = new MachineProgram(name, child, join(this.logs, `${name}.log`));
    this.#programs.add(started);
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#init, 'close');
    this.#init.kill('SIGKILL');
    await closed;
    await Promise.all([...this.#programs].map((program) => program.ended));
    for (const cgroup of cgroupsOfPods()) {
      // The kernel has told of the end of process 1 before the last of the others has left its cgroup.
      await eventually(`${cgroup} has no processes`, () => (hasProcesses(cgroup) ? undefined : true));
      removeCgroups(cgroup);
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A program in a {@link Machine}. */
export class MachineProgram {
  readonly name: string;
  readonly ended: Promise<void>;
  readonly #entering: ChildProcess;
  readonly #log: string;

  constructor(name: string, entering: ChildProcess, log: string) {
    this.name = name;
    this.#entering = entering;
    this.#log = log;
    this.ended = new Promise((resolve) => entering.once('close', () => resolve()));
  }

  /** Waits until it is so. @throws when the program ends instead, with the last that it wrote */
  async until(what: string, isSo: () => Promise<boolean>, ms: number): Promise<void> {
    await eventually(
      `${what} of ${this.name}`,
      async () => {
        if (this.#entering.exitCode !== null || this.#entering.signalCode !== null) {
          throw new Error(`${this.name} has ended:\n${readFileSync(this.#log, 'utf8').slice(-2000)}`);
        }
        return (await isSo().catch(() => false)) ? true : undefined;
      },
      ms,
    );
  }

  /** Asks it to end, and sees that it does. */
  async stop(): Promise<void> {
    // What enters a namespace of process numbers passes no signals on.
    const pid = childOf(this.#entering);
    if (pid !== undefined) process.kill(pid, 'SIGTERM');
    const timer = setTimeout(() => pid !== undefined && process.kill(pid, 'SIGKILL'), STOP_MS);
    await this.ended;
    clearTimeout(timer);
  }
}

/** The only child of a process, by the number that it has out here. */
function childOf({ pid }: ChildProcess): number | undefined {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  return child === undefined || child === '' ? undefined : Number(child);
}

/** Those that a kubelet makes: one in all of the second version, one in each hierarchy of the first. */
function cgroupsOfPods(): string[] {
  return [CGROUPS, ...readdirSync(CGROUPS).map((name) => join(CGROUPS, name))]
    .map((path) => join(path, 'kubepods'))
    .filter((path) => existsSync(path));
}

function hasProcesses(cgroup: string): boolean {
  return tree(cgroup).some((path) => readFileSync(join(path, 'cgroup.procs'), 'utf8') !== '');
}

function removeCgroups(cgroup: string): void {
  for (const path of tree(cgroup).toReversed()) rmdirSync(path);
}

/** A directory and those below it, above before below. */
function tree(path: string): string[] {
  const below = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [path, ...below.flatMap(({ name }) => tree(join(path, name)))];
}
