import type { SpiffeId } from '../kernel/spiffe-id.ts';
import type { Entry } from '../registry/entry.ts';

/** The kinds that are renewed for those who follow them. */
export type FollowedKind = 'x509' | 'wit';

/** What a stream follows: SVIDs of a kind, of all identities or of one, or bundles alone. */
export interface Follower {
  readonly kind: FollowedKind | 'bundles';
  readonly spiffeId?: SpiffeId | undefined;
}

/** Who follows what of one process: counted, since a process may have a thousand streams that follow the same. */
export class Followers {
  readonly #counts = new Map<string, number>();

  add(follower: Follower): void {
    const key = keyOf(follower);
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  remove(follower: Follower): void {
    const key = keyOf(follower);
    const left = (this.#counts.get(key) ?? 0) - 1;
    if (left > 0) this.#counts.set(key, left);
    else this.#counts.delete(key);
  }

  get any(): boolean {
    return this.#counts.size > 0;
  }

  /** Whether something is followed that has to be renewed. */
  get renewing(): boolean {
    return this.#counts.size > (this.#counts.has(keyOf({ kind: 'bundles' })) ? 1 : 0);
  }

  /** Whether somebody follows this kind of SVID of this entry. */
  want(kind: FollowedKind, { spiffeId }: Entry): boolean {
    return this.#counts.has(keyOf({ kind })) || this.#counts.has(keyOf({ kind, spiffeId }));
  }
}

function keyOf({ kind, spiffeId = '' }: { readonly kind: string; readonly spiffeId?: string | undefined }): string {
  return `${kind} ${spiffeId}`;
}
