import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { parseTrustDomain } from '../../agent/kernel/spiffe-id.ts';
import { parseBundle } from '../../agent/svid/bundle-json.ts';
import type { TrustBundle } from '../../agent/svid/trust-bundle.ts';
import { Daemon, type Ended, type LaunchOptions, MAIN, mayfly, plainEnvironment } from './daemon.ts';
import { entry, Home } from './home.ts';
import { JsonLines } from './json-lines.ts';

/** The daemon of one trust domain that federates with another, whose bundle it looks for in a file. One entry: `own`. */
export class FederatedAgent implements AsyncDisposable {
  readonly name: string;
  readonly other: string;
  readonly home: Home;
  #daemon: Daemon | undefined;

  /** @param config further lines of the configuration */
  constructor(name: string, other: string, config = '') {
    this.name = name;
    this.other = other;
    this.home = new Home({ 'own.yaml': this.entry(true) }, `${this.bundles}\n${config}`, name);
  }

  /** The line of the configuration that names the other trust domain. */
  get bundles(): string {
    return `bundles: [ { trust_domain: ${this.other}, file: other.json } ]`;
  }

  /** Where the other's bundle is looked for. */
  get file(): string {
    return this.home.path('other.json');
  }

  get daemon(): Daemon {
    if (this.#daemon === undefined) throw new Error('the agent does not run');
    return this.#daemon;
  }

  /** The entry file, for whoever runs the tests. */
  entry(federates: boolean): string {
    const selectors = [`unix:uid:${process.getuid?.()}`];
    return entry('own', selectors, federates ? [`federates_with: [ ${this.other} ]`] : [], this.name);
  }

  /** Starts it, again too: with the same keys. */
  async start(options: LaunchOptions = {}): Promise<void> {
    await this.stop();
    this.#daemon = await Daemon.start(this.home, options);
  }

  async stop(): Promise<void> {
    await this.#daemon?.stop();
    this.#daemon = undefined;
  }

  /** Runs `mayfly bundle export` of this trust domain. */
  export(...options: readonly string[]): Promise<Ended> {
    return mayfly(['--admin-socket', this.home.adminSocket, 'bundle', 'export', ...options]);
  }

  /** Gives the bundle of this trust domain to the other's agent, as an operator does. @throws when that fails */
  async giveTo({ file }: FederatedAgent): Promise<void> {
    const { code, stderr } = await this.export('--write', file);
    if (code !== 0) throw new Error(stderr);
  }

  /** {@link giveTo}, at each change from now on. */
  keepGiving({ file }: FederatedAgent): Exporter {
    return new Exporter(this.home.adminSocket, file);
  }

  /** What is in the other's file. */
  given(): TrustBundle {
    return parseBundle(parseTrustDomain(this.other), readFileSync(this.file, 'utf8'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.home.remove();
  }
}

/** `mayfly bundle export --follow` in a process of its own. */
class Exporter implements AsyncDisposable {
  /** One for each time that it has written the file. */
  readonly lines: JsonLines<{ readonly spiffe_sequence: number }>;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  constructor(adminSocket: string, file: string) {
    const args = ['--admin-socket', adminSocket, '--json', 'bundle', 'export', '--write', file, '--follow'];
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: plainEnvironment(),
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.lines = new JsonLines(child.stdout);
    this.#child = child;
    this.#exited = once(child, 'close');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill();
    await this.#exited;
  }
}
