import { readFileSync } from 'node:fs';
import { codeBlocks, readDocument } from '../../unit/docs/documents.ts';
import type { Guest } from './guest.ts';

/** An identity that a process in the guest has. */
export interface Lease {
  readonly pid: number;
  readonly spiffe_id: string;
  readonly serial: string;
  readonly container?: { readonly engine: string; readonly id: string };
  readonly unit?: { readonly id: string; readonly invocation: string };
}

interface LedgerRecord {
  readonly type: string;
  readonly reason?: string;
}

/** What a guest gets to install the agent from. @param release the path of the archive @param entries as `entry` makes them */
export function installation(release: string, entries: readonly unknown[]): Readonly<Record<string, string | Buffer>> {
  return { 'root/mayfly.tar.gz': readFileSync(release), 'root/entries.yaml': JSON.stringify({ entries }) };
}

/** An entry of the trust domain that the document configures. */
export function entry(id: string, ...selectors: readonly string[]) {
  return { id, spiffe_id: `spiffe://example.org/${id}`, selectors };
}

/** The agent of a guest, a service of systemd's, by what its commands print. */
export class InstalledAgent {
  readonly #guest: Guest;

  /** @param guest which has what `installation` says */
  constructor(guest: Guest) {
    this.#guest = guest;
  }

  /**
   * Installs it and starts it as the document says.
   *
   * @param changes turns the document's commands into those that are run
   * @returns what they have printed
   */
  async install(changes: (script: string) => string): Promise<string> {
    const [script = ''] = codeBlocks(readDocument('docs/systemd.md'), 'sh');
    await this.#guest.run('tar -xzf mayfly.tar.gz');
    return this.#guest.run(changes(script));
  }

  /** What one of its commands prints as JSON. */
  async asked<T>(command: string): Promise<T> {
    return JSON.parse(await this.#guest.run(`mayfly ${command} --json`)) as T;
  }

  /** The leases of an identity, once there are any. */
  async leasesOf(name: string): Promise<readonly Lease[]> {
    const id = `spiffe://example.org/${name}`;
    const text = await this.#guest.until('mayfly leases --json', (output) => output.includes(`"${id}"`));
    return (JSON.parse(text) as { leases: Lease[] }).leases.filter(({ spiffe_id }) => spiffe_id === id);
  }

  /** Until nobody has an identity any more. */
  async forgets(name: string): Promise<void> {
    await this.#guest.until('mayfly leases --json', (output) => !output.includes(`"spiffe://example.org/${name}"`));
  }

  /** What the ledger has of the leases that a certificate belongs to, by each lease. @param serial the certificate's */
  async trace(serial: string): Promise<readonly (readonly LedgerRecord[])[]> {
    const { leases } = await this.asked<{ leases: { records: LedgerRecord[] }[] }>(`audit trace ${serial}`);
    return leases.map(({ records }) => records);
  }
}
