import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Client } from './client.ts';
import type { ContainerEngine } from './container-engine.ts';
import { tool } from './toolchains.ts';

const PIPES = ['in', 'out'];

/** What a container is started with. */
export interface ContainedOptions {
  readonly image: string;
  readonly name: string;
  readonly args?: readonly string[];
}

/**
 * A container whose one process is a client, which does what a test asks. They speak through pipes that have names, so that both go on
 * when the engine is away.
 */
export class Contained implements AsyncDisposable {
  readonly id: string;
  readonly #engine: ContainerEngine;
  readonly #pipes: string;
  #client: Client;

  private constructor(id: string, engine: ContainerEngine, pipes: string, client: Client) {
    this.id = id;
    this.#engine = engine;
    this.#pipes = pipes;
    this.#client = client;
  }

  /** @param directory for its pipes @param socket of the agent, in a directory that is mounted into the container */
  static async start(
    engine: ContainerEngine,
    directory: string,
    socket: string,
    { args = [], image, name }: ContainedOptions,
  ): Promise<Contained> {
    const pipes = join(directory, name);
    mkdirSync(pipes);
    await makePipes(pipes);
    const mounts = ['--volume', `${dirname(socket)}:/run/mayfly`, '--volume', `${pipes}:/pipes`];
    const env = ['--env', 'SPIFFE_ENDPOINT_SOCKET=unix:///run/mayfly/api.sock'];
    const options = ['--name', name, ...mounts, ...env, ...args, image];
    const id = await engine.run([...options, '/bin/sh', '-c', 'exec /bin/client </pipes/in >/pipes/out']);
    return new Contained(id, engine, pipes, clientBehind(pipes));
  }

  get client(): Client {
    return this.#client;
  }

  async kill(): Promise<void> {
    await this.#engine.cli(['kill', this.id]);
  }

  /** The same container with another process. */
  async restart(): Promise<void> {
    // What is left of the run before keeps its own.
    for (const name of PIPES) rmSync(join(this.#pipes, name));
    await makePipes(this.#pipes);
    await this.#engine.cli(['restart', '--time', '0', this.id]);
    await this.#client[Symbol.asyncDispose]();
    this.#client = clientBehind(this.#pipes);
  }

  /** The number of its first process, on the machine. */
  async pid(): Promise<number> {
    return Number(await this.#engine.cli(['inspect', '--format', '{{.State.Pid}}', this.id]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }
}

async function makePipes(directory: string): Promise<void> {
  await tool(
    'mkfifo',
    PIPES.map((name) => join(directory, name)),
    '/',
  );
}

function clientBehind(pipes: string): Client {
  const script = 'cat "$0/out" & exec cat >"$0/in"';
  return Client.start({ kind: 'ready', command: ['sh', '-c', script, pipes] }, '');
}
