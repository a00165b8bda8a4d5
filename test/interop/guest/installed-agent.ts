import { inject } from 'vitest';
import { codeBlocks, readDocument } from '../../unit/docs/documents.ts';
import type { Guest } from './guest.ts';
import type { Machine } from './machine.ts';
import { releaseFor } from './release.ts';

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

/** What a guest gets to install the agent from. @param entries as `entry` makes them */
export function installation(machine: Machine, entries: readonly unknown[]): Readonly<Record<string, string | Buffer>> {
  const release = releaseFor(machine, inject('guestReleases'));
  return { 'root/mayfly.tar.gz': release, 'root/entries.yaml': JSON.stringify({ entries }) };
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

  /** The leases of an identity, once there are any and each has a certificate: it is made after the lease. */
  async leasesOf(name: string): Promise<readonly Lease[]> {
    const ofIdentity = (output: string) =>
      (JSON.parse(output) as { leases: Lease[] }).leases.filter(
        ({ spiffe_id }) => spiffe_id === `spiffe://example.org/${name}`,
      );
    const issued = (leases: readonly Lease[]) => leases.length > 0 && leases.every(({ serial }) => serial !== '');
    return ofIdentity(await this.#guest.until('mayfly leases --json', (output) => issued(ofIdentity(output))));
  }

  /** Until nobody has an identity any more. */
  async forgets(name: string): Promise<void> {
    await this.#guest.until('mayfly leases --json', (output) => !output.includes(`"spiffe://example.org/${name}"`));
  }

  /** What the ledger has of the leases that a certificate belongs to, by each lease. @param serial the certificate's */
  async trace(serial: string): Promise<readonly (readonly LedgerRecord[])[]> {
    return recordsIn(await this.#guest.run(`mayfly audit trace ${serial} --json`));
  }

  /** The same, once a lease of them is over. */
  async traceOfEnd(serial: string): Promise<readonly (readonly LedgerRecord[])[]> {
    const over = (output: string) => output.includes('"lease.ended"');
    return recordsIn(await this.#guest.until(`mayfly audit trace ${serial} --json`, over));
  }
}

/** @param trace as the command prints it */
function recordsIn(trace: string): readonly (readonly LedgerRecord[])[] {
  return (JSON.parse(trace) as { leases: { records: LedgerRecord[] }[] }).leases.map(({ records }) => records);
}
