import type { Context, ContextEnd, ContextKind } from './context.ts';
import { contextKeys } from './context.ts';

type OnEnd = (end: ContextEnd) => void;
type OnNew = (kind: ContextKind, key: string, context: Context) => void;

interface InUse {
  readonly context: Context;
  readonly followers: Set<OnEnd>;
}

// Enough for what ends between an attestation and the lease that hangs on it.
const MOST_REMEMBERED = 4096;

/**
 * The contexts in which there are processes that hold or ask for something. Attestors look here which are worth watching, and say which
 * are over; leases are told so in the same turn. What ended is remembered for a while: an attestation that was under way may still name
 * it.
 */
export class Contexts {
  readonly #inUse: Readonly<Record<ContextKind, Map<string, InUse>>> = {
    container: new Map(),
    pod: new Map(),
    unit: new Map(),
  };
  readonly #ended: Readonly<Record<ContextKind, Map<string, ContextEnd>>> = {
    container: new Map(),
    pod: new Map(),
    unit: new Map(),
  };
  readonly #onUse = new Set<(kind: ContextKind) => void>();
  readonly #onNew = new Set<OnNew>();

  /**
   * Counts somebody in.
   *
   * @param ended is called at most once, when one of the context's kinds is over; at once when it is over already
   * @returns how to count him out; may be called again, and after the end
   */
  enter(context: Context, ended: OnEnd): () => void {
    const keys = contextKeys(context);
    const over = keys.entries().map(([kind, key]) => this.#ended[kind].get(key));
    const end = over.find((each) => each !== undefined);
    if (end !== undefined) {
      ended(end);
      return () => undefined;
    }
    let left = false;
    const leave = (): void => {
      left = true;
      for (const [kind, key] of keys) this.#leave(kind, key, onEnd);
    };
    const onEnd: OnEnd = (reason) => {
      if (left) return;
      leave();
      ended(reason);
    };
    const fresh = [...keys].filter(([kind, key]) => this.#enter(kind, key, context, onEnd));
    for (const [kind, key] of fresh) {
      // Whoever is told may find that it is over.
      for (const run of this.#onNew) if (!left) run(kind, key, context);
    }
    return leave;
  }

  /** Those of a kind by what names them, each with all that is known of it. A living view. */
  inUse(kind: ContextKind): Iterable<readonly [key: string, context: Context]> {
    return this.#inUse[kind].entries().map(([key, { context }]) => [key, context] as const);
  }

  /** How many of a kind there are. */
  count(kind: ContextKind): number {
    return this.#inUse[kind].size;
  }

  /** Runs `run` when the first of a kind comes into use and when the last one goes. Returns how to take it back. */
  followUse(run: (kind: ContextKind) => void): () => void {
    this.#onUse.add(run);
    return () => this.#onUse.delete(run);
  }

  /**
   * Runs `run` with each context that comes into use, once for all who are in it: what it was found to be may have been over by the time
   * that somebody entered, and was not watched before. Returns how to take it back.
   */
  followNew(run: OnNew): () => void {
    this.#onNew.add(run);
    return () => this.#onNew.delete(run);
  }

  /** Says that a context is over, for good. Everybody in it is told in this turn. */
  end(kind: ContextKind, key: string, reason: ContextEnd): void {
    const ended = this.#ended[kind];
    if (ended.has(key)) return;
    ended.set(key, reason);
    const [oldest] = ended.keys();
    if (ended.size > MOST_REMEMBERED && oldest !== undefined) ended.delete(oldest);
    for (const follower of this.#inUse[kind].get(key)?.followers ?? []) {
      try {
        follower(reason);
      } catch (error) {
        // The others are told all the same; the defect is a crash afterwards.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  /** @returns whether nobody was in it before */
  #enter(kind: ContextKind, key: string, context: Context, follower: OnEnd): boolean {
    const known = this.#inUse[kind].get(key);
    if (known !== undefined) {
      known.followers.add(follower);
      return false;
    }
    this.#inUse[kind].set(key, { context, followers: new Set([follower]) });
    if (this.count(kind) === 1) this.#tellUse(kind);
    return true;
  }

  #leave(kind: ContextKind, key: string, follower: OnEnd): void {
    const known = this.#inUse[kind].get(key);
    if (known?.followers.delete(follower) !== true || known.followers.size > 0) return;
    this.#inUse[kind].delete(key);
    if (this.count(kind) === 0) this.#tellUse(kind);
  }

  #tellUse(kind: ContextKind): void {
    for (const run of this.#onUse) run(kind);
  }
}
