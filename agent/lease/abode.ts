import type { Context, ContextEnd, ContextKind } from '../attest/context.ts';
import { differingKind, isSameContext, joinContexts, NO_CONTEXT } from '../attest/context.ts';
import type { Contexts } from '../attest/contexts.ts';

const REPLACED: Readonly<Record<ContextKind, ContextEnd>> = {
  container: 'container-ended',
  pod: 'pod-replaced',
  unit: 'unit-ended',
};

/**
 * Where one process lives, as it was found first: what it was in once it cannot leave for another of the kind and stay what it was. An
 * attestor that knows nothing of it later takes nothing back.
 */
export class Abode {
  readonly #contexts: Contexts;
  readonly #ended: (end: ContextEnd) => void;
  #context: Context = NO_CONTEXT;
  #leave: (() => void) | undefined;

  /** @param ended is called when one of the contexts is over; at most once, when the process is let go of by it */
  constructor(contexts: Contexts, ended: (end: ContextEnd) => void) {
    this.#contexts = contexts;
    this.#ended = ended;
  }

  get context(): Context {
    return this.#context;
  }

  /** Takes over what was found of the process now. */
  found(context: Context): void {
    if (context === this.#context) return;
    const replaced = differingKind(this.#context, context);
    if (replaced !== undefined) {
      this.#ended(REPLACED[replaced]);
      return;
    }
    const now = joinContexts([this.#context, context]);
    if (isSameContext(now, this.#context)) return;
    this.leave();
    this.#context = now;
    this.#leave = this.#contexts.enter(now, this.#ended);
  }

  leave(): void {
    this.#leave?.();
    this.#leave = undefined;
  }
}
