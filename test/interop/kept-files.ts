import { type ChildProcess, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MAIN, mayfly } from '../support/daemon.ts';
import { JsonLines } from '../support/json-lines.ts';
import type { Agent } from './agent.ts';

/** The files of an identity, as programs read them that know nothing of SPIFFE. */
export class IdentityFiles implements Disposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'mayfly-files-'));

  path(name: 'svid' | 'key' | 'bundle' | 'crl'): string {
    return join(this.directory, `${name}.pem`);
  }

  /** The certificate behind the leaf, in a file of its own as OpenSSL's programs want it. */
  issuer(): string {
    const chain = readFileSync(this.path('svid'), 'utf8').match(/-----BEGIN[^]+?-----END CERTIFICATE-----\n/g) ?? [];
    const path = join(this.directory, 'issuer.pem');
    writeFileSync(path, chain.slice(1).join(''));
    return path;
  }

  /** The serial of the leaf, while there is one. */
  serial(): string | undefined {
    const path = this.path('svid');
    return existsSync(path) ? new X509Certificate(readFileSync(path)).serialNumber : undefined;
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** What `mayfly fetch x509 --write` leaves: its process has ended by then, and its certificate with it. */
export async function filesOfTheDead(agent: Agent): Promise<IdentityFiles> {
  const files = new IdentityFiles();
  const { code, stderr } = await mayfly(['fetch', 'x509', '--socket', agent.socket, '--write', files.directory]);
  if (code !== 0) throw new Error(stderr);
  return files;
}

/** Files that `mayfly watch --write` keeps fresh, until it is disposed of. */
export class KeptFiles extends IdentityFiles implements AsyncDisposable {
  readonly #watch: ChildProcess;

  private constructor(agent: Agent) {
    super();
    const args = ['watch', '--json', '--socket', agent.socket, '--write', this.directory];
    this.#watch = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  }

  static async start(agent: Agent): Promise<KeptFiles> {
    const files = new KeptFiles(agent);
    const { stdout } = files.#watch;
    if (stdout === null) throw new Error('a watch without output');
    await new JsonLines(stdout).first(() => true, 'the first update');
    return files;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#watch, 'close');
    this.#watch.kill('SIGKILL');
    await ended;
    this[Symbol.dispose]();
  }
}
