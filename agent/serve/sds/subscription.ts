import { MayflyError } from '../../kernel/errors.ts';
import type { Resource } from './resource.ts';
import type { Asked, SecretNames } from './resource-name.ts';
import { notAuthorized, parseSecretName } from './resource-name.ts';
import type { Holdable } from './secrets.ts';
import { allSecrets, secretFor, secretInPlaceOf } from './secrets.ts';
import type { Validator } from './validation-context.ts';

/** What is there of what a stream asks for. */
export interface Found {
  readonly resources: readonly Resource[];
  /** Names for which the caller has nothing. */
  readonly missing: readonly string[];
}

/** In xDS the name for everything. */
const EVERYTHING = '*';

// A proxy asks for a handful, mostly for one: this is for a caller that wants to keep the agent busy.
const MOST_NAMES = 256;

// A proxy says itself what it has had: each of these is kept, and a proxy that means well has had one, on a stream of its own.
const MOST_IN_PLACE = 64;

/** The names that a stream asks for. */
export class Subscription {
  readonly #names: SecretNames;
  /** What stands in for secrets that are withdrawn, by validator and name. It is asked for at each revocation, and stays what it is. */
  readonly #inPlace = new Map<string, Resource>();
  #asked = new Map<string, Asked>();
  #everything = false;

  constructor(names: SecretNames) {
    this.#names = names;
  }

  /** True while it can be told what the caller has only by its identities. */
  get wantsSvids(): boolean {
    return this.#everything || this.#asked.values().some(({ kind }) => kind === 'svid');
  }

  /** The same for bundles. */
  get wantsBundles(): boolean {
    return this.#everything || this.#asked.values().some(({ kind }) => kind !== 'svid');
  }

  has(name: string): boolean {
    return this.#everything || this.#asked.has(name);
  }

  subscribeToEverything(): void {
    this.#everything = true;
  }

  /** @throws MayflyError `SECRET_NOT_AUTHORIZED` for a name that can mean nothing, `INVALID_REQUEST` for too many */
  subscribe(names: readonly string[]): void {
    const asked = new Map(this.#asked);
    const missing: string[] = [];
    for (const name of names) {
      if (name === EVERYTHING) this.#everything = true;
      // SPIRE's agent passes over empty names, and so do we.
      if (name === EVERYTHING || name === '') continue;
      const each = parseSecretName(name, this.#names);
      if (each === undefined) missing.push(name);
      else asked.set(name, each);
    }
    if (missing.length > 0) throw notAuthorized(missing);
    if (asked.size > MOST_NAMES) {
      throw new MayflyError(
        'INVALID_REQUEST',
        `${asked.size} secrets are asked for; at most ${MOST_NAMES} on a stream`,
      );
    }
    this.#asked = asked;
  }

  unsubscribe(names: readonly string[]): void {
    if (names.length > 0) this.#inPlace.clear();
    for (const name of names) {
      if (name === EVERYTHING) this.#everything = false;
      else this.#asked.delete(name);
    }
  }

  /**
   * Asks for these names and no others.
   *
   * @returns whether that is something else than before
   * @throws MayflyError as {@link subscribe}; then nothing has changed
   */
  replace(names: readonly string[]): boolean {
    const next = new Subscription(this.#names);
    next.subscribe(names);
    const same =
      next.#everything === this.#everything &&
      next.#asked.size === this.#asked.size &&
      this.#asked.keys().every((name) => next.#asked.has(name));
    if (same) return false;
    this.#inPlace.clear();
    this.#asked = next.#asked;
    this.#everything = next.#everything;
    return true;
  }

  /**
   * @param had whether the client has had the secret of a name
   * @throws MayflyError as `secretFor`
   */
  find(from: Holdable, validator: Validator, had: (name: string) => boolean): Found {
    const missing: string[] = [];
    const found = new Map<string, Resource>();
    for (const [name, asked] of this.#asked) {
      const resource = secretFor(asked, from, validator) ?? (had(name) ? this.#inPlaceOf(asked, validator) : undefined);
      if (resource === undefined) missing.push(name);
      else found.set(name, resource);
    }
    if (this.#everything) for (const resource of allSecrets(from, validator)) found.set(resource.name, resource);
    return { resources: [...found.values()], missing };
  }

  #inPlaceOf(asked: Asked, validator: Validator): Resource | undefined {
    const key = `${validator} ${asked.name}`;
    const known = this.#inPlace.get(key);
    if (known !== undefined) return known;
    if (this.#inPlace.size === MOST_IN_PLACE) return undefined;
    const made = secretInPlaceOf(asked, validator);
    if (made !== undefined) this.#inPlace.set(key, made);
    return made;
  }
}
