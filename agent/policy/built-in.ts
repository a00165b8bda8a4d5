import { randomUUID } from 'node:crypto';
import { formatDuration } from '../kernel/duration.ts';
import type { GrantTerms, IssueRequest, JwtGrant, Refusal, X509Grant } from './grant.ts';
import { grant } from './grant.ts';
import type { Policy } from './policy.ts';

/** What configuration says of every issuance. Durations in milliseconds. */
export interface PolicyRules {
  readonly defaultX509SvidTtl: number;
  readonly defaultJwtSvidTtl: number;
  readonly maxX509SvidTtl: number;
  readonly maxJwtSvidTtl: number;
  /** Audiences that one token may be for. */
  readonly maxAudiences: number;
  /** Unexpired tokens of one lease. */
  readonly maxTokens: number;
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

  decide(request: IssueRequest & { kind: 'x509' }): Promise<X509Grant | Refusal>;
  decide(request: IssueRequest & { kind: 'jwt' }): Promise<JwtGrant | Refusal>;
  // Async, because an engine outside this process will be: a caller that relied on an answer at once could not change over.
  // oxlint-disable-next-line require-await
  async decide(request: IssueRequest): Promise<X509Grant | JwtGrant | Refusal> {
    const decisionId = this.#newId();
    const lifetimeAsked = this.#lifetimeAsked(request);
    const forbidden = this.#forbidden(request);
    if (forbidden !== undefined) return { kind: 'refusal', decisionId, lifetimeAsked, ...forbidden };

    const bound = this.#bounds(request, lifetimeAsked).reduce((least, next) =>
      next.expiresAt < least.expiresAt ? next : least,
    );
    if (bound.expiresAt <= request.now) {
      const message = `nothing may be issued for entry ${request.entry.id}: ${bound.rule} ended ${formatDuration(request.now - bound.expiresAt)} ago`;
      return { kind: 'refusal', decisionId, lifetimeAsked, rule: bound.rule, message };
    }
    const terms: GrantTerms = { decisionId, rule: bound.rule, lifetimeAsked, expiresAt: bound.expiresAt };
    return grant(request, terms);
  }

  #forbidden(request: IssueRequest): { rule: string; message: string } | undefined {
    if (request.kind === 'x509') return undefined;
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

  #lifetimeAsked({ kind, entry }: IssueRequest): number {
    return kind === 'x509'
      ? (entry.x509SvidTtl ?? this.#rules.defaultX509SvidTtl)
      : (entry.jwtSvidTtl ?? this.#rules.defaultJwtSvidTtl);
  }

  #bounds(request: IssueRequest, asked: number): [Bound, ...Bound[]] {
    const { entry, now } = request;
    const rules = this.#rules;
    const x509 = request.kind === 'x509';
    const most = x509 ? rules.maxX509SvidTtl : rules.maxJwtSvidTtl;
    const own = x509 ? entry.x509SvidTtl : entry.jwtSvidTtl;
    return [
      { rule: own === undefined ? 'defaults' : 'entry', expiresAt: now + asked },
      { rule: x509 ? 'max_x509_svid_ttl' : 'max_jwt_svid_ttl', expiresAt: now + most },
      { rule: 'issuer', expiresAt: request.signerExpiresAt },
      { rule: 'expires_at', expiresAt: entry.expiresAt ?? Number.POSITIVE_INFINITY },
      { rule: 'revocation_budget', expiresAt: now + request.bearable(Math.min(asked, most)) },
    ];
  }
}
