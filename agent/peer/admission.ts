import { MayflyError } from '../kernel/errors.ts';
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

/** Limits that are looked at before any work is done: one caller's excess is his own, and nobody waits in a queue. */
export class Admission {
  readonly #refusals: Refusals;
  readonly #byUid = new Map<number, number>();
  #limits: AdmissionLimits;
  #connections = 0;
  #attestations = 0;

  constructor(limits: AdmissionLimits, refusals: Refusals) {
    this.#limits = limits;
    this.#refusals = refusals;
  }

  get connections(): number {
    return this.#connections;
  }

  get attestations(): number {
    return this.#attestations;
  }

  /** New limits hold for what comes; what is under way already is not ended. */
  setLimits(limits: AdmissionLimits): void {
    this.#limits = limits;
  }

  /** A place for a connection of `uid`, or `undefined` when there is none; that is counted then. */
  connection(uid: number, pid: number): ConnectionSlot | undefined {
    const { maxConnections, maxConnectionsPerUid } = this.#limits;
    const ofUid = this.#byUid.get(uid) ?? 0;
    if (ofUid >= maxConnectionsPerUid) {
      const message = `uid ${uid} has ${ofUid} connections; peer.max_connections_per_uid allows ${maxConnectionsPerUid}`;
      this.#refusals.add('too-many-connections-of-user', message, { uid, pid });
      return undefined;
    }
    if (this.#connections >= maxConnections) {
      const message = `there are ${this.#connections} connections; peer.max_connections allows ${maxConnections}`;
      this.#refusals.add('too-many-connections', message, { uid, pid });
      return undefined;
    }
    this.#connections += 1;
    this.#byUid.set(uid, ofUid + 1);
    return this.#slot(uid, pid);
  }

  /**
   * Admits one more attestation; returns what to do when it is over.
   *
   * @throws MayflyError `OVERLOADED`
   */
  attestation(): () => void {
    const { maxAttestations } = this.#limits;
    if (this.#attestations >= maxAttestations) {
      const message = `${maxAttestations} attestations are under way, and peer.max_attestations allows no more`;
      this.#refusals.add('too-many-attestations', message);
      throw new MayflyError('OVERLOADED', `${message}; try again`);
    }
    this.#attestations += 1;
    return once(() => {
      this.#attestations -= 1;
    });
  }

  #slot(uid: number, pid: number): ConnectionSlot {
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
      release: once(() => {
        this.#connections -= 1;
        const left = (this.#byUid.get(uid) ?? 1) - 1;
        if (left === 0) this.#byUid.delete(uid);
        else this.#byUid.set(uid, left);
      }),
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
