import { NO_CONTEXT } from '../../agent/attest/context.ts';
import { parseAudiences } from '../../agent/kernel/audience.ts';
import { parseSelector } from '../../agent/kernel/selector.ts';
import { parseSpiffeId } from '../../agent/kernel/spiffe-id.ts';
import { NO_FACTS } from '../../agent/peer/facts.ts';
import type { ProcessInstance } from '../../agent/peer/instance.ts';
import type { JwtGrant, WitGrant, X509Grant } from '../../agent/policy/grant.ts';
import { grant } from '../../agent/policy/grant.ts';
import type { Entry } from '../../agent/registry/entry.ts';

/** What a test wants granted; the rest is as ordinary as can be. Times in milliseconds since the epoch. */
export interface Wish {
  readonly now: number;
  readonly ttl: number;
  readonly id?: string;
  readonly dnsNames?: readonly string[];
  readonly audiences?: readonly string[];
}

/** A grant as a policy makes it, for the process that runs the test. */
export function x509Grant(wish: Wish): X509Grant {
  return grant({ ...requestOf(wish), kind: 'x509' }, termsOf(wish));
}

/** A grant of a WIT-SVID as a policy makes it, for the process that runs the test. */
export function witGrant(wish: Wish): WitGrant {
  return grant({ ...requestOf(wish), kind: 'wit' }, termsOf(wish));
}

/** A grant of a token as a policy makes it, for the process that runs the test. */
export function jwtGrant(wish: Wish): JwtGrant {
  const audiences = parseAudiences(wish.audiences ?? ['spiffe://example.org/reports']);
  return grant({ ...requestOf(wish), kind: 'jwt', audiences, outstanding: 0 }, termsOf(wish));
}

/** An entry with everything set that has to be. */
export function entryOf(wish: Pick<Wish, 'id' | 'dnsNames'>): Entry {
  return Object.freeze({
    id: 'payments',
    spiffeId: parseSpiffeId(wish.id ?? 'spiffe://example.org/payments'),
    selectors: [parseSelector('unix:uid:1000')] as const,
    owner: undefined,
    x509SvidTtl: undefined,
    jwtSvidTtl: undefined,
    witSvidTtl: undefined,
    dnsNames: wish.dnsNames ?? [],
    hint: '',
    federatesWith: [],
    audiences: undefined,
    expiresAt: undefined,
    source: 'entries/payments.yaml:1',
  });
}

/** This very process, which outlives every test. */
const self: ProcessInstance = {
  key: `${process.pid}.0`,
  pid: process.pid,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  startTime: '0',
  bootId: '00000000-0000-0000-0000-000000000000',
  proof: 'start-time',
  facts: () => NO_FACTS,
  end: undefined,
  alive: () => true,
  onEnd: () => () => {},
  hold: () => () => {},
};

function requestOf(wish: Wish) {
  const entry = entryOf(wish);
  return {
    instance: self,
    selectors: new Set(entry.selectors),
    context: NO_CONTEXT,
    entry,
    occasion: 'first' as const,
    now: wish.now,
    signerExpiresAt: Number.POSITIVE_INFINITY,
    bearable: (lifetime: number) => lifetime,
  };
}

function termsOf(wish: Wish) {
  return { decisionId: `decision-${wish.now}`, rule: 'entry', lifetimeAsked: wish.ttl, expiresAt: wish.now + wish.ttl };
}
