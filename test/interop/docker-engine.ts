import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../support/json-lines.ts';
import type { ContainerEngine } from './container-engine.ts';
import { Program } from './program.ts';
import { tool } from './toolchains.ts';

const START_MS = 30_000;

/**
 * A Docker Engine of a test's own, as Debian has it. All that it makes is in a directory and a mount namespace of its own, and
 * it leaves the machine's network alone: containers have none, and no image comes from a registry.
 */
export class DockerEngine implements ContainerEngine {
  readonly attestor = 'docker';
  readonly socket: string;
  readonly #directory: string;
  #daemon: Program | undefined;

  private constructor() {
    this.#directory = mkdtempSync(join(tmpdir(), 'mayfly-docker-'));
    this.socket = join(this.#directory, 'docker.sock');
    // What the machine's own engine is told is not for this one.
    writeFileSync(join(this.#directory, 'daemon.json'), '{}');
  }

  static async start(): Promise<DockerEngine> {
    const engine = new DockerEngine();
    await engine.up();
    return engine;
  }

  /** Starts the engine, again too. Containers that run are taken over. */
  async up(): Promise<void> {
    const at = (name: string) => join(this.#directory, name);
    const inNamespace = ['--mount', '--propagation', 'private', 'dockerd', '--host', `unix://${this.socket}`];
    const places = ['--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('docker.pid')];
    const network = ['--iptables=false', '--ip6tables=false', '--bridge=none'];
    // The only driver that needs nothing of the file system below.
    const containers = ['--storage-driver', 'vfs', '--live-restore'];
    const args = [...inNamespace, '--config-file', at('daemon.json'), ...places, ...network, ...containers];
    this.#daemon = new Program(['unshare', ...args]);
    await this.#daemon.until('an answer', () => this.docker(['version']).catch(() => undefined), START_MS);
  }

  /** Ends the engine; its containers run on. */
  async down(): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    await daemon?.stop();
  }

  /** How to run `docker` with this engine, for who runs it himself. */
  command(args: readonly string[]): readonly [string, ...string[]] {
    return ['docker', '--config', this.#directory, '--host', `unix://${this.socket}`, ...args];
  }

  /** @returns what it has printed, without the last newline. @throws Error with what it has said */
  async docker(args: readonly string[]): Promise<string> {
    const [program, ...rest] = this.command(args);
    return (await tool(program, rest, '/')).trimEnd();
  }

  cli(args: readonly string[]): Promise<string> {
    return this.docker(args);
  }

  /** Makes an image of the files in an archive. @param changes as in a Dockerfile: `LABEL tier=web` */
  async image(name: string, rootfs: string, changes: readonly string[] = []): Promise<void> {
    await this.docker(['import', ...changes.flatMap((change) => ['--change', change]), rootfs, name]);
  }

  /**
   * Starts a container that runs on.
   *
   * @returns its id
   */
  run(args: readonly string[]): Promise<string> {
    return this.docker(['run', '--detach', '--network', 'none', ...args]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#daemon === undefined) await this.up();
      // It fails over a container that is about to end by itself.
      const remove = () => this.#removeContainers().catch(() => undefined);
      await eventually('all containers are gone', remove);
    } finally {
      await this.down();
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #removeContainers(): Promise<true> {
    const containers = await this.docker(['ps', '--all', '--quiet']);
    if (containers !== '') await this.docker(['rm', '--force', ...containers.split('\n')]);
    return true;
  }
}
