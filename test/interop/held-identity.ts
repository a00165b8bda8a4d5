import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MAIN } from '../support/daemon.ts';
import type { Agent } from './agent.ts';
import { Program } from './program.ts';

/** What whoever can read a workload's files takes with him, in PEM. */
export interface Credentials {
  readonly cert: string;
  readonly key: string;
  /** The roots of its trust domain. */
  readonly ca: string;
}

/** A process that has an identity, and leaves it in files: `mayfly fetch x509 --hold`. */
export class HeldIdentity implements AsyncDisposable {
  readonly credentials: Credentials;
  readonly #program: Program;

  private constructor(program: Program, directory: string) {
    this.#program = program;
    const pem = (name: string) => readFileSync(join(directory, `${name}.pem`), 'utf8');
    this.credentials = { cert: pem('svid'), key: pem('key'), ca: pem('bundle') };
  }

  /** @param directory where it may make one for its files */
  static async start(agent: Agent, directory: string, ids: { readonly gid?: number }): Promise<HeldIdentity> {
    const files = join(directory, `held-${ids.gid ?? 'own'}`);
    const program = new Program(
      [process.execPath, MAIN, 'fetch', 'x509', '--hold', '--socket', agent.socket, '--write', files],
      ids,
    );
    await program.says(/^spiffe:/);
    return new HeldIdentity(program, files);
  }

  /** Ends the process, which has no time to clean up. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}
