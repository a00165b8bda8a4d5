import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContainerEngine } from './container-engine.ts';
import { Program } from './program.ts';
import { tool } from './toolchains.ts';

const START_MS = 30_000;

// Limits that root has everywhere, and a runtime and cgroups that do without systemd and on every version of cgroups.
const SETTINGS = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
`;

/** A podman of a test's own, of root's, as Debian has it; all that it makes is in a directory of its own. */
export class PodmanEngine implements ContainerEngine {
  readonly attestor = 'podman';
  readonly socket: string;
  readonly #directory: string;
  #service: Program | undefined;

  private constructor() {
    this.#directory = mkdtempSync(join(tmpdir(), 'mayfly-podman-'));
    this.socket = join(this.#directory, 'podman.sock');
    writeFileSync(join(this.#directory, 'containers.conf'), SETTINGS);
  }

  static async start(): Promise<PodmanEngine> {
    const engine = new PodmanEngine();
    await engine.up();
    return engine;
  }

  async up(): Promise<void> {
    rmSync(this.socket, { force: true });
    this.#service = new Program(this.#command(['system', 'service', '--time', '0', `unix://${this.socket}`]));
    const version = () => tool('podman', ['--url', `unix://${this.socket}`, 'version'], '/').catch(() => undefined);
    await this.#service.until('an answer', version, START_MS);
  }

  async down(): Promise<void> {
    const service = this.#service;
    this.#service = undefined;
    await service?.stop();
  }

  async cli(args: readonly string[]): Promise<string> {
    const [program, ...rest] = this.#command(args);
    return (await tool(program, rest, '/')).trimEnd();
  }

  async image(name: string, rootfs: string, changes: readonly string[] = []): Promise<void> {
    await this.cli(['import', ...changes.flatMap((change) => ['--change', change]), rootfs, name]);
  }

  run(args: readonly string[]): Promise<string> {
    return this.cli(['run', '--detach', ...args]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.cli(['rm', '--all', '--force', '--time', '0']);
    } finally {
      await this.down();
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #command(args: readonly string[]): readonly [string, ...string[]] {
    const at = (name: string) => join(this.#directory, name);
    const places = ['--root', at('root'), '--runroot', at('run'), '--tmpdir', at('tmp'), '--storage-driver', 'vfs'];
    return ['env', `CONTAINERS_CONF=${at('containers.conf')}`, 'podman', ...places, ...args];
  }
}
