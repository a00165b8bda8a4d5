import { inject } from 'vitest';
import type { Agent } from './agent.ts';
import { Client } from './client.ts';
import { goSpiffe, javaSpiffe, pySpiffe, rustSpiffe } from './consumers.ts';
import type { Equipment } from './equipment.ts';
import type { Consumer } from './evidence/evidence.ts';

/** A client library, and the program that drives it. */
export interface Library {
  readonly consumer: Consumer<'libraries'>;
  readonly program: Equipment;
}

const { go, java, python, rust } = inject('equipment');

export const GO: Library = { consumer: goSpiffe, program: go };
export const JAVA: Library = { consumer: javaSpiffe, program: java };
export const PYTHON: Library = { consumer: pySpiffe, program: python };
export const RUST: Library = { consumer: rustSpiffe, program: rust };
export const LIBRARIES: readonly Library[] = [GO, PYTHON, RUST, JAVA];

/** Processes with all sources open, one of each library. */
export class Processes implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #byName = new Map<string, Client>();

  static async start(agent: Agent, libraries: readonly Library[]): Promise<Processes> {
    const processes = new Processes();
    await Promise.all(
      libraries.map(async ({ consumer, program }) => {
        const client = processes.#stack.use(Client.start(program, agent.socket));
        processes.#byName.set(consumer.name, client);
        await client.ask('watch');
      }),
    );
    return processes;
  }

  of({ consumer }: Library): Client {
    const client = this.#byName.get(consumer.name);
    if (client === undefined) throw new Error(`${consumer.name} does not run here`);
    return client;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** The leaves that a process has been told of, as base64 of DER: no other process has one of them. */
export function leavesOf(client: Client): string[] {
  return client.updates().flatMap(({ svids }) => svids.flatMap(({ chain }) => chain.slice(0, 1)));
}
