import type { Context } from '../attest/context.ts';
import type { Audiences } from '../kernel/audience.ts';
import type { Selector } from '../kernel/selector.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Entry } from '../registry/entry.ts';

/** Why an issuance is asked for: the first of its kind in a lease, its renewal before expiry, or a token on demand. */
export type Occasion = 'first' | 'renewal' | 'on-demand';

interface Request {
  readonly instance: ProcessInstance;
  readonly selectors: ReadonlySet<Selector>;
  readonly context: Context;
  readonly entry: Entry;
  readonly occasion: Occasion;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** When the key that would sign stops being valid: nothing outlives its issuer. */
  readonly signerExpiresAt: number;
  /** What may be given of a lifetime so that the revocation lists stay within their budget. Milliseconds in and out. */
  readonly bearable: (lifetime: number) => number;
}

/** Who wants what, when and why: all that a policy decides on. */
export type IssueRequest =
  | (Request & { readonly kind: 'x509' })
  | (Request & { readonly kind: 'wit' })
  | (Request & {
      readonly kind: 'jwt';
      readonly audiences: Audiences;
      /** How many tokens of this entry the process has that have not expired. */
      readonly outstanding: number;
    });

declare const granted: unique symbol;
const grants = new WeakSet<object>();

interface Granted {
  readonly [granted]: true;
  /** Joins the records of one decision. */
  readonly decisionId: string;
  readonly instance: ProcessInstance;
  readonly entry: Entry;
  /** What bounded the lifetime, or `entry`: the rule's name. */
  readonly rule: string;
  /** What the entry or the configuration would give, in milliseconds. */
  readonly lifetimeAsked: number;
  /** Milliseconds since the epoch. */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

export type X509Grant = Granted & { readonly kind: 'x509' };
export type WitGrant = Granted & { readonly kind: 'wit' };
export type JwtGrant = Granted & { readonly kind: 'jwt'; readonly audiences: Audiences };

/** A decision that something may be issued: what, for whom, until when. Only {@link grant} makes one, and only a decider calls it. */
export type Grant = X509Grant | WitGrant | JwtGrant;

/** The grant that a request leads to. */
export type GrantOf<R extends IssueRequest> = Extract<Grant, { readonly kind: R['kind'] }>;

/** A decision that it may not. `message` is for the operator; the caller learns only `NO_IDENTITY`. */
export interface Refusal {
  readonly kind: 'refusal';
  readonly decisionId: string;
  readonly rule: string;
  readonly lifetimeAsked: number;
  readonly message: string;
}

export function isRefusal(decision: Grant | Refusal): decision is Refusal {
  return decision.kind === 'refusal';
}

/** Turns a request that was allowed into its grant. For `policy/` alone: the layers test refuses any other importer. */
export function grant<R extends IssueRequest>(request: R, terms: GrantTerms): GrantOf<R> {
  const common = {
    decisionId: terms.decisionId,
    instance: request.instance,
    entry: request.entry,
    rule: terms.rule,
    lifetimeAsked: terms.lifetimeAsked,
    issuedAt: request.now,
    expiresAt: terms.expiresAt,
  };
  const made = Object.freeze(
    request.kind === 'jwt'
      ? { ...common, kind: request.kind, audiences: request.audiences }
      : { ...common, kind: request.kind },
  ) as GrantOf<R>;
  grants.add(made);
  return made;
}

export interface GrantTerms {
  readonly decisionId: string;
  readonly rule: string;
  readonly lifetimeAsked: number;
  readonly expiresAt: number;
}

/**
 * Refuses what only looks like a grant, before anything is signed: types end at the first cast.
 *
 * @throws Error a forged grant is a defect of the program, never a caller's
 */
export function assertGranted(value: Grant): void {
  if (!grants.has(value)) throw new Error('what should be signed was not granted by a policy decision');
}
