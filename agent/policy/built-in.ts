import { randomUUID } from 'node:crypto';
import { formatDuration } from '../kernel/duration.ts';
import type { GrantOf, GrantTerms, IssueRequest, Refusal } from './grant.ts';
import { grant } from './grant.ts';
import type { Policy } from './policy.ts';

/** What configuration says of every issuance. Durations in milliseconds. */
export interface PolicyRules {
  readonly defaultX509SvidTtl: number;
  readonly defaultJwtSvidTtl: number;
  readonly defaultWitSvidTtl: number;
  readonly maxX509SvidTtl: number;
  readonly maxJwtSvidTtl: number;
  readonly maxWitSvidTtl: number;
  /** Audiences that one token may be for. */
  readonly maxAudiences: number;
  /** Unexpired tokens of one lease. */
  readonly maxTokens: number;
}

/** What bounds the lifetimes of one kind. */
interface Lifetime {
  /** The entry's own; `undefined` where it has none. */
  readonly own: number | undefined;
  readonly otherwise: number;
  readonly most: number;
  readonly mostRule: string;
}

interface Bound {
  readonly rule: string;
  readonly expiresAt: number;
}

/** The rules that come with the agent: each lifetime is the shortest that anything allows, and what is forbidden is refused. */
export class BuiltInPolicy implements Policy {
  #rules: PolicyRules;
  readonly #newId: () => string;

  constructor(rules: PolicyRules, newId: () => string = randomUUID) {
    this.#rules = rules;
    this.#newId = newId;
  }

  /** Takes other rules from the next decision on; what was granted keeps its terms. */
  replaceRules(rules: PolicyRules): void {
    this.#rules = rules;
  }

  // Async, because an engine outside this process will be: a caller that relied on an answer at once could not change over.
  // oxlint-disable-next-line require-await
  async decide<R extends IssueRequest>(request: R): Promise<GrantOf<R> | Refusal> {
    const decisionId = this.#newId();
    const lifetime = this.#lifetime(request);
    const lifetimeAsked = lifetime.own ?? lifetime.otherwise;
    const forbidden = this.#forbidden(request);
    if (forbidden !== undefined) return { kind: 'refusal', decisionId, lifetimeAsked, ...forbidden };

    const bound = bounds(request, lifetime).reduce((least, next) => (next.expiresAt < least.expiresAt ? next : least));
    if (bound.expiresAt <= request.now) {
      const message = `nothing may be issued for entry ${request.entry.id}: ${bound.rule} ended ${formatDuration(request.now - bound.expiresAt)} ago`;
      return { kind: 'refusal', decisionId, lifetimeAsked, rule: bound.rule, message };
    }
    const terms: GrantTerms = { decisionId, rule: bound.rule, lifetimeAsked, expiresAt: bound.expiresAt };
    return grant(request, terms);
  }

  #forbidden(request: IssueRequest): { rule: string; message: string } | undefined {
    if (request.kind !== 'jwt') return undefined;
    const { entry, audiences, outstanding } = request;
    if (outstanding >= this.#rules.maxTokens) {
      return {
        rule: 'max_tokens',
        message: `process ${request.instance.pid} has ${outstanding} tokens of entry ${entry.id} that have not expired; policy.max_tokens allows ${this.#rules.maxTokens}`,
      };
    }
    if (audiences.length > this.#rules.maxAudiences) {
      return {
        rule: 'max_audiences',
        message: `a token for ${audiences.length} audiences was asked for; policy.max_audiences allows ${this.#rules.maxAudiences}`,
      };
    }
    const allowed = entry.audiences;
    const foreign = allowed === undefined ? undefined : audiences.find((audience) => !allowed.includes(audience));
    if (foreign === undefined) return undefined;
    return {
      rule: 'audiences',
      message: `entry ${entry.id} allows no token for the audience ${JSON.stringify(foreign)}`,
    };
  }

  #lifetime({ entry, kind }: IssueRequest): Lifetime {
    const rules = this.#rules;
    switch (kind) {
      case 'x509':
        return {
          own: entry.x509SvidTtl,
          otherwise: rules.defaultX509SvidTtl,
          most: rules.maxX509SvidTtl,
          mostRule: 'max_x509_svid_ttl',
        };
      case 'jwt':
        return {
          own: entry.jwtSvidTtl,
          otherwise: rules.defaultJwtSvidTtl,
          most: rules.maxJwtSvidTtl,
          mostRule: 'max_jwt_svid_ttl',
        };
      case 'wit':
        return {
          own: entry.witSvidTtl,
          otherwise: rules.defaultWitSvidTtl,
          most: rules.maxWitSvidTtl,
          mostRule: 'max_wit_svid_ttl',
        };
    }
  }
}

function bounds(request: IssueRequest, { most, mostRule, otherwise, own }: Lifetime): [Bound, ...Bound[]] {
  const { entry, now } = request;
  const asked = own ?? otherwise;
  return [
    { rule: own === undefined ? 'defaults' : 'entry', expiresAt: now + asked },
    { rule: mostRule, expiresAt: now + most },
    { rule: 'issuer', expiresAt: request.signerExpiresAt },
    { rule: 'expires_at', expiresAt: entry.expiresAt ?? Number.POSITIVE_INFINITY },
    { rule: 'revocation_budget', expiresAt: now + request.bearable(Math.min(asked, most)) },
  ];
}
