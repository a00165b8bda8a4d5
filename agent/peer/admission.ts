import { MayflyError } from '../kernel/errors.ts';
import { Places } from './places.ts';
import type { Refusals } from './refusals.ts';

/** How much may be under way at once. */
export interface AdmissionLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerUid: number;
  readonly maxCallsPerConnection: number;
  readonly maxAttestations: number;
}

/** One admitted connection's place. */
export interface ConnectionSlot {
  /**
   * Admits one more call on the connection; returns what to do when it is over.
   *
   * @throws MayflyError `OVER_LIMIT`
   */
  readonly call: () => () => void;
  /** Gives the place back; may be called again. */
  readonly release: () => void;
}

/** Who connects. */
export interface Newcomer {
  readonly uid: number;
  readonly pid: number;
  /** With whom his connections are counted, such that "… has 7 connections" reads well. */
  readonly tenant: string;
}

/**
 * Limits that are looked at before any work is done: one caller's excess is his own, and nobody waits in a queue. Counted together is a
 * tenant: whoever shares a user, or a pod or container, however many processes they are.
 */
export class Admission {
  readonly #refusals: Refusals;
  readonly #connections = new Places();
  readonly #attestations = new Places();
  #limits: AdmissionLimits;

  constructor(limits: AdmissionLimits, refusals: Refusals) {
    this.#limits = limits;
    this.#refusals = refusals;
  }

  get connections(): number {
    return this.#connections.count;
  }

  get attestations(): number {
    return this.#attestations.count;
  }

  /** New limits hold for what comes; what is under way already is not ended. */
  setLimits(limits: AdmissionLimits): void {
    this.#limits = limits;
  }

  /** A place for a connection, or `undefined` when there is none; that is counted then. */
  connection({ pid, tenant, uid }: Newcomer): ConnectionSlot | undefined {
    const { maxConnections, maxConnectionsPerUid } = this.#limits;
    const own = this.#connections.of(tenant);
    if (own >= maxConnectionsPerUid) {
      const message = `${tenant} has ${own} connections; peer.max_connections_per_uid allows ${maxConnectionsPerUid}`;
      this.#refusals.add('too-many-connections-of-user', message, { uid, pid });
      return undefined;
    }
    if (this.connections >= maxConnections) {
      const message = `there are ${this.connections} connections; peer.max_connections allows ${maxConnections}`;
      this.#refusals.add('too-many-connections', message, { uid, pid });
      return undefined;
    }
    return this.#slot(this.#connections.take(tenant), uid, pid);
  }

  /**
   * Admits one more attestation; returns what to do when it is over. No tenant may have more under way than there are places left, so
   * that there always are some for another: an attestation may be made to take seconds.
   *
   * @throws MayflyError `OVERLOADED`
   */
  attestation(tenant: string): () => void {
    const { maxAttestations } = this.#limits;
    const [all, own] = [this.attestations, this.#attestations.of(tenant)];
    if (own < maxAttestations - all) return this.#attestations.take(tenant);
    const message =
      all >= maxAttestations
        ? `${all} attestations are under way, and peer.max_attestations allows no more`
        : `${own} attestations of ${tenant} are under way, and of peer.max_attestations, ${maxAttestations}, nobody may have more than are left`;
    this.#refusals.add('too-many-attestations', message);
    throw new MayflyError('OVERLOADED', `${message}; try again`);
  }

  #slot(release: () => void, uid: number, pid: number): ConnectionSlot {
    let calls = 0;
    return {
      call: () => {
        const { maxCallsPerConnection } = this.#limits;
        if (calls >= maxCallsPerConnection) {
          const message = `${calls} calls are under way on one connection; peer.max_calls_per_connection allows ${maxCallsPerConnection}`;
          this.#refusals.add('too-many-calls', message, { uid, pid });
          throw new MayflyError('OVER_LIMIT', message);
        }
        calls += 1;
        return once(() => {
          calls -= 1;
        });
      },
      release,
    };
  }
}

/** Giving a place back twice would admit one too many for ever. */
function once(run: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    run();
  };
}
