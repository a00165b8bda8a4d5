import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon } from '../support/daemon.ts';
import { Home } from '../support/home.ts';

const FEDERATED = join(import.meta.dirname, '..', 'vectors', 'bundle', 'valid-of-other-org.json');

export const TRUST_DOMAIN = 'example.org';
/** A trust domain whose bundle the agent has, from the test vectors; it holds one root and the JWT keys `ec` and `rsa`. */
export const FEDERATED_DOMAIN = 'other.org';

/** What an entry file says of one entry. */
export interface EntrySpec {
  readonly id: string;
  readonly spiffe_id: string;
  readonly selectors: readonly string[];
  readonly x509_svid_ttl?: string;
  readonly wit_svid_ttl?: string;
  readonly hint?: string;
  readonly dns_names?: readonly string[];
  readonly federates_with?: readonly string[];
}

/** An entry for all processes of a user, by default of the one who runs the tests. */
export function entry(name: string, rest: Partial<EntrySpec> = {}, uid: number = process.getuid?.() ?? 0): EntrySpec {
  return { id: name, spiffe_id: `spiffe://${TRUST_DOMAIN}/${name}`, selectors: [`unix:uid:${uid}`], ...rest };
}

/** The daemon as it is shipped, in a process and a home of its own; it may end and come back. */
export class Agent implements AsyncDisposable {
  readonly #home: Home;
  #daemon: Daemon | undefined;
  /** Of the foreign bundle: one with a smaller number is refused. */
  #sequence = 0;

  private constructor(home: Home) {
    this.#home = home;
  }

  /** @param config further lines of the configuration */
  static async start(entries: readonly EntrySpec[], config = ''): Promise<Agent> {
    const home = new Home(
      { 'all.yaml': entryFile(entries) },
      `bundles: [ { trust_domain: ${FEDERATED_DOMAIN}, file: federated.json } ]\n${config}`,
    );
    const agent = new Agent(home);
    agent.setFederatedKeys(['ec', 'rsa']);
    await agent.start();
    return agent;
  }

  get socket(): string {
    return this.#home.socket;
  }

  /** A file of its home. */
  path(name: string): string {
    return this.#home.path(name);
  }

  /** Starts it, again too: on the same socket and with the same keys. Resolves once it serves. */
  async start(): Promise<void> {
    this.#daemon = await Daemon.start(this.#home);
  }

  /** Replaces all entries at once; the agent notices by itself. */
  setEntries(entries: readonly EntrySpec[]): void {
    this.#home.replace('entries/all.yaml', entryFile(entries));
  }

  /** Replaces the bundle of {@link FEDERATED_DOMAIN} by one that has only these JWT keys; the agent notices by itself. */
  setFederatedKeys(ids: readonly string[]): void {
    const bundle = JSON.parse(readFileSync(FEDERATED, 'utf8')) as { keys: { use: string; kid?: string }[] };
    const keys = bundle.keys.filter(({ use, kid }) => use !== 'jwt-svid' || ids.includes(kid ?? ''));
    this.#sequence += 1;
    this.#home.replace('federated.json', JSON.stringify({ ...bundle, keys, spiffe_sequence: this.#sequence }));
  }

  /** @returns the exit code, or the signal's name */
  async end(by: 'SIGTERM' | 'SIGKILL'): Promise<number | string | null> {
    const daemon = this.#daemon;
    if (daemon === undefined) throw new Error('the agent does not run');
    this.#daemon = undefined;
    const { code, signal } = await daemon.stop(by);
    return signal ?? code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon?.[Symbol.asyncDispose]();
    this.#home.remove();
  }
}

/** JSON is YAML. */
function entryFile(entries: readonly EntrySpec[]): string {
  return JSON.stringify({ entries });
}
