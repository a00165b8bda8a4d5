import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { eventually } from '../support/json-lines.ts';
import type { Equipment } from './equipment.ts';
import { commandOf } from './equipment.ts';

/** A part of Envoy's configuration, as its JSON has it. */
export type Config = Readonly<Record<string, unknown>>;

/** What an Envoy presents, and whom it verifies by. */
interface Certificates {
  readonly ca_cert: readonly { readonly path: string }[];
  readonly cert_chain: readonly {
    readonly serial_number: string;
    readonly subject_alt_names: readonly { readonly uri?: string }[];
  }[];
}

// It does not listen before its secrets are there or have been waited for, which takes it 15 s.
const START_MS = 20_000;

/** An Envoy in a process of its own. Killed when it is disposed of. */
export class Envoy implements AsyncDisposable {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #directory: string;
  #log = '';

  private constructor(child: ChildProcess, directory: string) {
    this.pid = child.pid ?? 0;
    this.#child = child;
    this.#exited = once(child, 'exit');
    this.#directory = directory;
    child.stderr?.setEncoding('utf8').on('data', (part: string) => {
      this.#log += part;
    });
  }

  /** Starts it and goes on at once. @param ids whose process it is; that of the tests by default */
  static launch(equipment: Equipment, config: Config, ids: { uid?: number; gid?: number } = {}): Envoy {
    const [program] = commandOf(equipment);
    const directory = mkdtempSync(join(tmpdir(), 'mayfly-envoy-'));
    if (ids.uid !== undefined) chownSync(directory, ids.uid, ids.gid ?? ids.uid);
    const admin = { admin: { address: { pipe: { path: join(directory, 'admin.sock') } } } };
    // JSON is YAML.
    const args = ['--config-yaml', JSON.stringify({ ...config, ...admin }), '--concurrency', '1'];
    const child = spawn(program, [...args, '--disable-hot-restart', '--log-level', 'warn'], {
      ...ids,
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    return new Envoy(child, directory);
  }

  /** Starts it and waits until it serves. */
  static async start(equipment: Equipment, config: Config, ids: { uid?: number; gid?: number } = {}): Promise<Envoy> {
    const envoy = Envoy.launch(equipment, config, ids);
    try {
      await envoy.ready();
    } catch (error) {
      await envoy[Symbol.asyncDispose]();
      throw error;
    }
    return envoy;
  }

  /** What it wrote to its log: warnings and errors. */
  get log(): string {
    return this.#log;
  }

  /** Waits until it listens. @throws when it ends instead */
  async ready(): Promise<void> {
    await eventually(
      'Envoy is live',
      async () => {
        if (this.#child.exitCode !== null) throw new Error(`Envoy has ended:\n${this.#log}`);
        const answer = await this.get('/ready').catch(() => undefined);
        return answer === 'LIVE\n' ? true : undefined;
      },
      START_MS,
    );
  }

  /** What its administration answers. */
  async get(path: string): Promise<string> {
    const asked = request({ socketPath: join(this.#directory, 'admin.sock'), path }).end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    return text(response);
  }

  /** Where a listener that was given port 0 listens. */
  async port(listener: string): Promise<number> {
    const { listener_statuses: statuses } = JSON.parse(await this.get('/listeners?format=json')) as {
      listener_statuses: { name: string; local_address: { socket_address: { port_value: number } } }[];
    };
    const found = statuses.find(({ name }) => name === listener);
    if (found === undefined) throw new Error(`Envoy has no listener ${listener}`);
    return found.local_address.socket_address.port_value;
  }

  /** A counter or a gauge. */
  async stat(name: string): Promise<number> {
    const lines = (await this.get('/stats')).split('\n');
    const line = lines.find((each) => each.startsWith(`${name}: `));
    if (line === undefined) throw new Error(`Envoy counts no ${name}`);
    return Number(line.slice(name.length + 2));
  }

  /** The serial numbers of the certificates that it presents, as lower-case hexadecimal. */
  async serials(): Promise<readonly string[]> {
    const serials = (await this.#certificates()).flatMap(({ cert_chain: [leaf] }) =>
      leaf === undefined ? [] : [leaf.serial_number],
    );
    return [...new Set(serials)];
  }

  /** From where it has the CAs that it verifies by; its SPIFFE validator tells the trust domain besides. */
  async authorities(): Promise<readonly string[]> {
    const paths = (await this.#certificates()).flatMap(({ ca_cert: [ca] }) => (ca === undefined ? [] : [ca.path]));
    return [...new Set(paths)];
  }

  async #certificates(): Promise<readonly Certificates[]> {
    return (JSON.parse(await this.get('/certs')) as { certificates: readonly Certificates[] }).certificates;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL');
      await this.#exited;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
