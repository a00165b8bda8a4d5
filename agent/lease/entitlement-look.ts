import type { ProcessInstance } from '../peer/instance.ts';
import type { Entitled } from '../registry/entitlement.ts';
import type { LeaseParts } from './lease-parts.ts';

/** Finds out what one process is entitled to. Strangers' calls are admitted by number; what is due for them later is not. */
export class EntitlementLook {
  readonly #instance: ProcessInstance;
  readonly #parts: Pick<LeaseParts, 'admit' | 'entitlement'>;
  #looking: Promise<Entitled> | undefined;

  constructor(instance: ProcessInstance, parts: Pick<LeaseParts, 'admit' | 'entitlement'>) {
    this.#instance = instance;
    this.#parts = parts;
  }

  /**
   * One look for all calls that come meanwhile, and one place taken: a process with a thousand streams is looked at once.
   *
   * @throws MayflyError `NO_IDENTITY`, `ATTESTATION_FAILED`, `CALLER_UNKNOWN`, `OVERLOADED`
   */
  atCall(): Promise<Entitled> {
    const current = this.#parts.entitlement.current(this.#instance);
    if (current !== undefined) return Promise.resolve(current);
    this.#looking ??= this.#admitted().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** @throws MayflyError as {@link atCall}, but never `OVERLOADED` */
  async now(): Promise<Entitled> {
    const { entitlement } = this.#parts;
    return entitlement.current(this.#instance) ?? (await entitlement.of(this.#instance));
  }

  async #admitted(): Promise<Entitled> {
    const leave = this.#parts.admit(this.#instance);
    try {
      return await this.now();
    } finally {
      leave();
    }
  }
}
