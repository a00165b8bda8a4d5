import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CrlIssuer, IssuedToken, IssuedX509 } from '../../../agent/authority/authority.ts';
import type { LocalAuthorityOptions } from '../../../agent/authority/local.ts';
import { LocalAuthority } from '../../../agent/authority/local.ts';
import { parseAudience } from '../../../agent/kernel/audience.ts';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import type { X509Grant } from '../../../agent/policy/grant.ts';
import { publicJwkOf } from '../../../agent/svid/jwk.ts';
import { verifyJwtSvid } from '../../../agent/svid/jwt.ts';
import { generateLeafKey } from '../../../agent/svid/leaf-key.ts';
import type { TrustBundle } from '../../../agent/svid/trust-bundle.ts';
import { verifyWitSvid } from '../../../agent/svid/wit.ts';
import { jwtGrant, witGrant, x509Grant } from '../../support/grants.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLog } from '../../support/memory-log.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const REPORTS = parseAudience('spiffe://example.org/reports');
const { publicKey } = await generateLeafKey('ec-p256');
const confirmation = {
  ...publicJwkOf(createPublicKey({ key: publicKey, format: 'der', type: 'spki' }))!,
  alg: 'ES256',
};

let clock: ManualClock;
let log: MemoryLog;
let dataDir: string;
let opened: LocalAuthority[];

beforeEach(() => {
  clock = new ManualClock();
  log = new MemoryLog();
  dataDir = mkdtempSync(join(tmpdir(), 'mayfly-authority-'));
  opened = [];
});

afterEach(async () => {
  for (const authority of opened) await authority.close();
  rmSync(dataDir, { recursive: true });
});

function open(more: Partial<LocalAuthorityOptions> = {}): LocalAuthority {
  const authority = LocalAuthority.open({
    trustDomain: parseTrustDomain('example.org'),
    dataDir,
    keyType: 'ec-p256',
    rootTtl: 30 * DAY,
    caTtl: DAY,
    jwtKeyTtl: DAY,
    witKeyTtl: DAY,
    nameConstraint: false,
    clock,
    log,
    ...more,
  });
  opened.push(authority);
  return authority;
}

function issueX509(authority: LocalAuthority, ttl = HOUR): Promise<IssuedX509> {
  return authority.issueX509(x509Grant({ now: clock.now(), ttl }), publicKey);
}

function issueJwt(authority: LocalAuthority, ttl = 5 * MINUTE): Promise<IssuedToken> {
  return authority.issueJwt(jwtGrant({ now: clock.now(), ttl }));
}

function issueWit(authority: LocalAuthority, ttl = HOUR): Promise<IssuedToken> {
  return authority.issueWit(witGrant({ now: clock.now(), ttl }), confirmation);
}

/** What a verifier does with a chain at a time, and why it would refuse it. */
function refusal(issued: IssuedX509, bundle: TrustBundle, now: number): string | undefined {
  const [leaf, ca] = issued.chain.map(parsed);
  const root = bundle.x509Authorities.map(parsed).find((each) => hasSigned(each, ca!));
  if (root === undefined) return 'no root in the bundle has signed the issuing CA';
  if (!hasSigned(ca!, leaf!)) return 'the issuing CA has not signed the leaf';
  const path = [leaf!, ca!, root];
  if (path.some((each) => now < each.validFromDate.getTime())) return 'not valid yet';
  if (path.some((each) => now > each.validToDate.getTime())) return 'expired';
  return undefined;
}

// The same certificates are verified over and over while time passes: what cannot change is worked out once.
const certificates = new WeakMap<Buffer, X509Certificate>();
const signatures = new WeakMap<X509Certificate, WeakMap<X509Certificate, boolean>>();

function parsed(der: Buffer): X509Certificate {
  const certificate = certificates.get(der) ?? new X509Certificate(der);
  certificates.set(der, certificate);
  return certificate;
}

function hasSigned(issuer: X509Certificate, subject: X509Certificate): boolean {
  const known = signatures.get(issuer) ?? new WeakMap<X509Certificate, boolean>();
  signatures.set(issuer, known);
  const holds = known.get(subject) ?? (subject.checkIssued(issuer) && subject.verify(issuer.publicKey));
  known.set(subject, holds);
  return holds;
}

async function tokenRefusal(issued: IssuedToken, bundle: TrustBundle, now: number): Promise<string | undefined> {
  try {
    await verifyJwtSvid(issued.token, REPORTS, new Map([[bundle.trustDomain, bundle]]), now);
    return undefined;
  } catch (error) {
    return String(error);
  }
}

async function witRefusal(issued: IssuedToken, bundle: TrustBundle, now: number): Promise<string | undefined> {
  try {
    await verifyWitSvid(issued.token, new Map([[bundle.trustDomain, bundle]]), now);
    return undefined;
  } catch (error) {
    return String(error);
  }
}

function states(authority: LocalAuthority): string {
  return authority
    .status()
    .keys.map(({ use, state }) => `${use} ${state}`)
    .join(', ');
}

function bundleOf(authority: LocalAuthority): TrustBundle {
  return authority.bundle.value!;
}

describe('issuing', () => {
  test('a certificate says what was granted, from ten seconds before, and verifies', async () => {
    const authority = open();
    const issued = await issueX509(authority);
    const leaf = new X509Certificate(issued.chain[0]);
    expect(issued).toMatchObject({ notBefore: clock.now() - 10 * SECOND, notAfter: clock.now() + HOUR });
    expect(issued.serial).toBe(leaf.serialNumber.toLowerCase());
    expect(leaf.validFromDate.getTime()).toBe(issued.notBefore);
    expect(leaf.validToDate.getTime()).toBe(issued.notAfter);
    expect(leaf.subjectAltName).toBe('URI:spiffe://example.org/payments');
    expect(issued.chain).toHaveLength(2);
    expect(refusal(issued, bundleOf(authority), clock.now())).toBeUndefined();
  });

  test('fractions of a second never make it longer than granted', async () => {
    clock.advance(999);
    const authority = open();
    const [certificate, token] = [await issueX509(authority, HOUR), await issueJwt(authority, HOUR)];
    expect(certificate.notAfter).toBe(clock.now() - 999 + HOUR);
    expect(token).toMatchObject({ issuedAt: clock.now() - 999, expiresAt: clock.now() - 999 + HOUR });
  });

  test('a token has the audiences of the grant, and a jti of its own', async () => {
    const authority = open();
    const [one, other] = [await issueJwt(authority), await issueJwt(authority)];
    expect(one.jti).toMatch(/^[0-9a-f]{32}$/);
    expect(one.jti).not.toBe(other.jti);
    const bundles = new Map([[bundleOf(authority).trustDomain, bundleOf(authority)]]);
    expect(await verifyJwtSvid(one.token, REPORTS, bundles, clock.now())).toMatchObject({
      id: 'spiffe://example.org/payments',
      jti: one.jti,
      claims: { aud: [REPORTS], iat: clock.now() / 1000, exp: (clock.now() + 5 * MINUTE) / 1000 },
    });
  });

  test('a WIT-SVID confirms the key that it was made for, and is for nobody in particular', async () => {
    const authority = open();
    const [one, other] = [await issueWit(authority), await issueWit(authority)];
    expect(one.jti).toMatch(/^[0-9a-f]{32}$/);
    expect(one.jti).not.toBe(other.jti);
    const bundles = new Map([[bundleOf(authority).trustDomain, bundleOf(authority)]]);
    const verified = await verifyWitSvid(one.token, bundles, clock.now());
    expect(verified).toMatchObject({ id: 'spiffe://example.org/payments', jti: one.jti, confirmation });
    expect(Object.keys(verified.claims).toSorted()).toEqual(['cnf', 'exp', 'iat', 'jti', 'sub']);
    expect(verified.kid).toBe(bundleOf(authority).witAuthorities[0]?.kid);
  });

  test('P-384 signs all', async () => {
    const authority = open({ keyType: 'ec-p384' });
    expect(refusal(await issueX509(authority), bundleOf(authority), clock.now())).toBeUndefined();
    expect(await tokenRefusal(await issueJwt(authority), bundleOf(authority), clock.now())).toBeUndefined();
    expect(await witRefusal(await issueWit(authority), bundleOf(authority), clock.now())).toBeUndefined();
    const { jwtAuthorities, witAuthorities } = bundleOf(authority);
    for (const keys of [jwtAuthorities, witAuthorities]) {
      expect(keys).toMatchObject([{ jwk: { alg: 'ES384', crv: 'P-384' } }]);
    }
  });

  test('what only looks like a grant is refused, and nothing is made of it', async () => {
    let asked = 0;
    const authority = open({
      random: (bytes) => {
        asked += 1;
        return Buffer.alloc(bytes, 1);
      },
    });
    const before = asked;
    const forged = { ...x509Grant({ now: clock.now(), ttl: HOUR }) } as X509Grant;
    await expect(authority.issueX509(forged, publicKey)).rejects.toThrow('was not granted by a policy decision');
    expect(asked).toBe(before);
  });

  test('nothing outlives its signer: a grant that would is refused, not shortened', async () => {
    const authority = open();
    const issuing = { x509: issueX509, jwt: issueJwt, wit: issueWit };
    for (const kind of ['x509', 'jwt', 'wit'] as const) {
      const most = authority.signerExpiresAt(kind) - clock.now();
      const issue = issuing[kind];
      await expect(issue(authority, most)).resolves.toBeDefined();
      await expect(issue(authority, most + SECOND)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    }
  });

  test('a decision from before the machine slept is not signed any more', async () => {
    const authority = open();
    const old = x509Grant({ now: clock.now(), ttl: HOUR });
    clock.step(2 * HOUR);
    await expect(authority.issueX509(old, publicKey)).rejects.toMatchObject({
      code: 'AUTHORITY_UNAVAILABLE',
      message: 'the key or the clock has changed since the decision; ask again',
    });
  });
});

describe('the bundle', () => {
  test('has the root and the JWT key with kid, alg and end, and no private member', () => {
    const bundle = bundleOf(open());
    expect(bundle).toMatchObject({ trustDomain: 'example.org', sequence: 1, refreshHint: 300 });
    expect(bundle.x509Authorities).toHaveLength(1);
    const [key] = bundle.jwtAuthorities;
    expect(Object.keys(key!.jwk).toSorted()).toEqual(['alg', 'crv', 'kid', 'kty', 'x', 'y']);
    expect(key).toMatchObject({ kid: key!.jwk.kid, jwk: { alg: 'ES256' }, expiresAt: clock.now() + DAY });
  });

  test('has a WIT key of its own beside the JWT key', () => {
    const { jwtAuthorities, witAuthorities } = bundleOf(open());
    expect([jwtAuthorities.length, witAuthorities.length]).toEqual([1, 1]);
    expect(witAuthorities[0]?.kid).not.toBe(jwtAuthorities[0]?.kid);
    expect(Object.keys(witAuthorities[0]!.jwk).toSorted()).toEqual(['alg', 'crv', 'kid', 'kty', 'x', 'y']);
  });

  test('asks to be refreshed twice between a successor and its first signature', () => {
    expect(bundleOf(open({ rootTtl: 10 * MINUTE, jwtKeyTtl: 4 * MINUTE }))).toMatchObject({ refreshHint: 20 });
    expect(bundleOf(open({ witKeyTtl: 2 * MINUTE }))).toMatchObject({ refreshHint: 10 });
  });
});

describe('rotation', () => {
  const TTLS = { rootTtl: 10 * MINUTE, caTtl: 4 * MINUTE, jwtKeyTtl: 6 * MINUTE, witKeyTtl: 5 * MINUTE };
  const LEAF = 90 * SECOND;
  const TOKEN = 60 * SECOND;

  test('three generations roll, and nothing issued ever fails for a verifier that lags by a refresh', async () => {
    const authority = open(TTLS);
    const lag = bundleOf(authority).refreshHint * SECOND;
    const updates: { readonly at: number; readonly bundle: TrustBundle }[] = [];
    const issued: IssuedX509[] = [];
    const tokens: IssuedToken[] = [];
    const wits: IssuedToken[] = [];
    const [roots, cas, kids] = [new Set<string>(), new Set<string>(), new Set<string>()];
    const witKids = new Set<string>();
    let checks = 0;

    for (const end = clock.now() + 40 * MINUTE; clock.now() < end; clock.advance(6 * SECOND)) {
      const bundle = bundleOf(authority);
      if (updates.at(-1)?.bundle !== bundle) updates.push({ at: clock.now(), bundle });
      const now = clock.now();
      // The newest it can have: one that was out a whole refresh ago. At the very start there is only the first.
      const seen = updates.findLast(({ at }) => at <= now - lag)?.bundle ?? updates[0]!.bundle;

      expect(authority.signerExpiresAt('x509') - now).toBeGreaterThanOrEqual(LEAF);
      expect(authority.signerExpiresAt('jwt') - now).toBeGreaterThanOrEqual(TOKEN);
      issued.push(await issueX509(authority, LEAF));
      expect(authority.signerExpiresAt('wit') - now).toBeGreaterThanOrEqual(TOKEN);
      tokens.push(await issueJwt(authority, TOKEN));
      wits.push(await issueWit(authority, TOKEN));
      cas.add(issued.at(-1)!.chain[1]!.toString('hex'));
      for (const each of issued.filter(({ notAfter }) => notAfter > now)) {
        expect(refusal(each, seen, now)).toBeUndefined();
        checks += 1;
      }
      for (const each of tokens.filter(({ expiresAt }) => expiresAt > now).slice(-2)) {
        expect(await tokenRefusal(each, seen, now)).toBeUndefined();
      }
      for (const each of wits.filter(({ expiresAt }) => expiresAt > now).slice(-2)) {
        expect(await witRefusal(each, seen, now)).toBeUndefined();
      }
      for (const { kid } of bundle.jwtAuthorities) kids.add(kid);
      for (const { kid } of bundle.witAuthorities) witKids.add(kid);
      for (const der of bundle.x509Authorities) roots.add(der.toString('hex'));
    }
    expect(checks).toBeGreaterThan(5000);
    expect(roots.size).toBeGreaterThanOrEqual(4);
    expect(kids.size).toBeGreaterThanOrEqual(4);
    expect(witKids.size).toBeGreaterThanOrEqual(4);
    expect(kids.isDisjointFrom(witKids)).toBe(true);
    expect(cas.size).toBeGreaterThanOrEqual(4);
    // Old keys go: what is left is a predecessor and a successor at most.
    expect(bundleOf(authority).x509Authorities.length).toBeLessThanOrEqual(3);
    expect(updates.map(({ bundle }) => bundle.sequence)).toEqual(updates.map((_, index) => index + 1));
  });

  test('every CA is within its root, and every leaf within its CA', async () => {
    const authority = open({ ...TTLS, caTtl: 10 * MINUTE });
    for (const end = clock.now() + 20 * MINUTE; clock.now() < end; clock.advance(30 * SECOND)) {
      const most = authority.signerExpiresAt('x509') - clock.now();
      const { chain } = await issueX509(authority, most);
      const [leaf, ca] = chain.map((der) => new X509Certificate(der));
      const root = bundleOf(authority)
        .x509Authorities.map((der) => new X509Certificate(der))
        .find((each) => ca!.checkIssued(each));
      for (const [inner, outer] of [
        [leaf, ca],
        [ca, root],
      ] as const) {
        expect(inner!.validToDate.getTime()).toBeLessThanOrEqual(outer!.validToDate.getTime());
        expect(inner!.validFromDate.getTime()).toBeGreaterThanOrEqual(outer!.validFromDate.getTime());
      }
    }
  });

  test('the successor is in the bundle, prepared, before it signs; the predecessor after', () => {
    const authority = open({ rootTtl: 30 * DAY, jwtKeyTtl: 6 * HOUR });
    expect(states(authority)).toBe('root active, issuing-ca active, jwt active, wit active');
    const [first] = bundleOf(authority).jwtAuthorities;
    clock.advance(3 * HOUR);
    expect(states(authority)).toBe('root active, issuing-ca active, jwt active, jwt prepared, wit active');
    expect(bundleOf(authority).jwtAuthorities.map(({ kid }) => kid)).toEqual([first!.kid, expect.any(String)]);
    clock.advance(HOUR);
    expect(states(authority)).toBe('root active, issuing-ca active, jwt retired, jwt active, wit active');
    clock.advance(2 * HOUR);
    expect(bundleOf(authority).jwtAuthorities.map(({ kid }) => kid)).not.toContain(first!.kid);
  });

  test('WIT keys have their own generations', () => {
    const authority = open({ rootTtl: 30 * DAY, jwtKeyTtl: DAY, witKeyTtl: 6 * HOUR });
    const [first] = bundleOf(authority).witAuthorities;
    clock.advance(3 * HOUR);
    expect(states(authority)).toBe('root active, issuing-ca active, jwt active, wit active, wit prepared');
    expect(bundleOf(authority).witAuthorities.map(({ kid }) => kid)).toEqual([first!.kid, expect.any(String)]);
    clock.advance(HOUR);
    expect(states(authority)).toBe('root active, issuing-ca active, jwt active, wit retired, wit active');
    clock.advance(2 * HOUR);
    expect(bundleOf(authority).witAuthorities.map(({ kid }) => kid)).not.toContain(first!.kid);
  });

  test('a follower of the bundle is told of each change, and of nothing else', async () => {
    const authority = open(TTLS);
    const sequences: number[] = [];
    const stop = new AbortController();
    const following = (async () => {
      for await (const { sequence } of authority.bundle.follow(stop.signal)) sequences.push(sequence);
    })();
    await clock.elapse(20 * MINUTE);
    stop.abort();
    await following;
    expect(sequences.length).toBeGreaterThan(6);
    expect(sequences).toEqual(sequences.map((_, index) => index + 1));
  });
});

describe('the clock', () => {
  test.each([
    ['forward by days', 40 * DAY],
    ['forward by ten years', 3650 * DAY],
    ['back by half an hour', -HOUR / 2],
    ['back by days', -40 * DAY],
    ['back by ten years', -3650 * DAY],
  ])('stepped %s leaves valid keys at the next issuance', async (_, by) => {
    const authority = open();
    clock.step(by);
    const [certificate, token] = [await issueX509(authority), await issueJwt(authority)];
    expect(refusal(certificate, bundleOf(authority), clock.now())).toBeUndefined();
    expect(await tokenRefusal(token, bundleOf(authority), clock.now())).toBeUndefined();
  });

  test('stepped and seen only at the next call, since no alarm has run yet, leaves valid keys too', async () => {
    let ahead = 0;
    const lazy = { ...bind(clock), now: () => clock.now() + ahead };
    const authority = open({ clock: lazy });
    ahead = 40 * DAY;
    const now = lazy.now();
    expect(authority.signerExpiresAt('x509')).toBeGreaterThan(now + HOUR);
    const issued = await authority.issueX509(x509Grant({ now, ttl: HOUR }), publicKey);
    expect(refusal(issued, bundleOf(authority), now)).toBeUndefined();
  });

  test('set back by up to an hour keeps the keys that there are', async () => {
    const authority = open();
    const before = bundleOf(authority);
    clock.step(-HOUR + SECOND);
    const issued = await issueX509(authority);
    expect(bundleOf(authority)).toBe(before);
    expect(refusal(issued, before, clock.now())).toBeUndefined();
  });

  test('that goes back and comes forth again serves the first keys again', async () => {
    const authority = open();
    const issued = await issueX509(authority);
    clock.step(-40 * DAY);
    await issueX509(authority);
    clock.step(40 * DAY);
    expect(refusal(issued, bundleOf(authority), clock.now())).toBeUndefined();
    expect(refusal(await issueX509(authority), bundleOf(authority), clock.now())).toBeUndefined();
  });

  test('stepped over the wait of a successor does not make verifiers know it', () => {
    const authority = open({ jwtKeyTtl: 6 * HOUR });
    clock.advance(3 * HOUR);
    clock.step(2 * HOUR);
    expect(states(authority)).toContain('jwt active, jwt prepared');
    clock.advance(10 * MINUTE);
    expect(states(authority)).toContain('jwt retired, jwt active');
  });
});

describe('a restart', () => {
  test('keeps keys, bundle and sequence, and writes nothing', async () => {
    const first = open();
    const issued = await issueX509(first);
    const token = await issueJwt(first);
    await first.close();
    const file = join(dataDir, 'authority/keys.json');
    const before = readFileSync(file, 'utf8');
    const second = open();
    expect(bundleOf(second)).toEqual(bundleOf(first));
    expect(second.status()).toEqual(first.status());
    expect(readFileSync(file, 'utf8')).toBe(before);
    expect((await issueX509(second)).chain[1]).toEqual(issued.chain[1]);
    expect(await tokenRefusal(token, bundleOf(second), clock.now())).toBeUndefined();
    expect(log.events).toEqual(['authority.made', 'authority.opened']);
  });

  test('at every step of several rotations goes on where it was', async () => {
    const ttls = { rootTtl: 10 * MINUTE, caTtl: 4 * MINUTE, jwtKeyTtl: 6 * MINUTE };
    const issued: IssuedX509[] = [];
    let sequence = 0;
    for (let round = 0; round < 60; round++) {
      const authority = open(ttls);
      const most = authority.signerExpiresAt('x509') - clock.now();
      issued.push(await issueX509(authority, Math.min(most, 90 * SECOND)));
      expect(bundleOf(authority).sequence).toBeGreaterThanOrEqual(sequence);
      sequence = bundleOf(authority).sequence;
      for (const each of issued.filter(({ notAfter }) => notAfter > clock.now())) {
        expect(refusal(each, bundleOf(authority), clock.now())).toBeUndefined();
      }
      clock.advance(25 * SECOND);
      await authority.close();
      clock.advance(5 * SECOND);
    }
    expect(sequence).toBeGreaterThan(10);
  });

  test('over a key file from before there were WIT-SVIDs keeps all keys, and makes the one that is missing', async () => {
    const file = join(dataDir, 'authority/keys.json');
    const first = open({ witKeyTtl: undefined });
    const [issued, token] = [await issueX509(first), await issueJwt(first)];
    await first.close();
    const before = readFileSync(file, 'utf8');
    expect(before).not.toContain('wit');
    const second = open();
    expect(states(second)).toBe('root active, issuing-ca active, jwt active, wit active');
    expect(bundleOf(second)).toEqual({
      ...bundleOf(first),
      sequence: 2,
      witAuthorities: [expect.objectContaining({ kid: expect.any(String) })],
    });
    expect((await issueX509(second)).chain[1]).toEqual(issued.chain[1]);
    expect(await tokenRefusal(token, bundleOf(second), clock.now())).toBeUndefined();
    const [was, is] = [before, readFileSync(file, 'utf8')].map((text) => JSON.parse(text).content);
    expect(is).toEqual({ ...was, sequence: 2, wit_keys: [expect.any(Object)] });
    await second.close();
    expect(bundleOf(open())).toEqual(bundleOf(second));
  });

  test('with WIT-SVIDs switched off makes no key for them; those there were verify until they expire', async () => {
    const first = open({ witKeyTtl: 6 * HOUR });
    const issued = await issueWit(first, 30 * MINUTE);
    await first.close();
    const second = open({ witKeyTtl: undefined });
    expect(states(second)).toContain('wit retired');
    expect(await witRefusal(issued, bundleOf(second), clock.now())).toBeUndefined();
    await expect(issueWit(second)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    expect(() => second.signerExpiresAt('wit')).toThrow('wit.enabled is false');
    await expect(issueJwt(second)).resolves.toBeDefined();
    clock.advance(6 * HOUR);
    expect(bundleOf(second).witAuthorities).toEqual([]);
    expect(states(second)).not.toContain('wit');
    expect(readFileSync(join(dataDir, 'authority/keys.json'), 'utf8')).not.toContain('wit_keys');
  });

  test('keeps the retired issuing CA with its key until its last leaf has expired', async () => {
    const first = open();
    clock.advance(13 * HOUR);
    await first.close();
    expect(states(open())).toContain('issuing-ca retired, issuing-ca active');
  });

  test('with another key type changes over: the CA once its list is out, what is published once verifiers know it', async () => {
    await open().close();
    const authority = open({ keyType: 'ec-p384' });
    expect(states(authority)).toContain('root active, root prepared, issuing-ca active, issuing-ca prepared');
    expect(refusal(await issueX509(authority), bundleOf(authority), clock.now())).toBeUndefined();
    clock.advance(10 * SECOND);
    expect(states(authority)).toContain('root active, root prepared, issuing-ca retired, issuing-ca active');
    clock.advance(10 * MINUTE);
    expect(states(authority)).toContain('root retired, root active');
    expect(refusal(await issueX509(authority), bundleOf(authority), clock.now())).toBeUndefined();
  });

  test('with another name constraint signs by a new issuing CA once the list of that is out', async () => {
    const first = open();
    const before = await issueX509(first);
    await first.close();
    const second = open({ nameConstraint: true });
    clock.advance(10 * SECOND - 1);
    expect((await issueX509(second)).chain[1]).toEqual(before.chain[1]);
    clock.advance(1);
    const after = await issueX509(second);
    expect(after.chain[1]).not.toEqual(before.chain[1]);
    expect(bundleOf(second)).toEqual(bundleOf(first));
    expect(refusal(before, bundleOf(second), clock.now())).toBeUndefined();
  });

  test('keeps a prepared issuing CA prepared, and waits anew: nobody could be told meanwhile', async () => {
    const first = open();
    clock.advance(12 * HOUR - 25 * SECOND);
    expect(states(first)).toContain('issuing-ca active, issuing-ca prepared');
    await first.close();
    clock.advance(HOUR);
    const second = open();
    const [active, prepared] = second.status().keys.filter(({ use }) => use === 'issuing-ca');
    expect([active, prepared]).toMatchObject([{ state: 'active' }, { state: 'prepared' }]);
    expect((await issueX509(second)).issuer).toBe(active!.id);
    clock.advance(10 * SECOND);
    expect((await issueX509(second)).issuer).toBe(prepared!.id);
  });

  test('takes over a file from before issuing CAs were prepared, and leaves it as it is', async () => {
    const first = open();
    const issued = await issueX509(first);
    await first.close();
    const file = join(dataDir, 'authority/keys.json');
    const before = readFileSync(file, 'utf8');
    const { content } = JSON.parse(before) as { content: { issuing_cas: object[] } };
    expect(content.issuing_cas.map((ca) => Object.keys(ca))).toEqual([
      ['certificate', 'key', 'created_at', 'name_constraint'],
    ]);
    const second = open();
    expect((await issueX509(second)).chain[1]).toEqual(issued.chain[1]);
    expect(readFileSync(file, 'utf8')).toBe(before);
  });
});

describe('the lists that verifiers need', () => {
  function issuersOf(authority: LocalAuthority): readonly CrlIssuer[] {
    const coverage = authority.crls.value;
    return coverage?.complete === true ? coverage.issuers : [];
  }

  test('are of every root and issuing CA, each until the last that it signs', async () => {
    const authority = open();
    const [root, ca] = issuersOf(authority);
    expect(issuersOf(authority)).toHaveLength(2);
    expect(root).toMatchObject({ use: 'root', notAfter: clock.now() + 30 * DAY, signsUntil: clock.now() + DAY });
    expect(ca).toMatchObject({ use: 'issuing-ca', notAfter: clock.now() + DAY, signsUntil: clock.now() + DAY });
    expect(await issueX509(authority)).toMatchObject({ issuer: ca!.id });
  });

  test('are asked for before a new issuing CA signs, and still of the one before it', async () => {
    const authority = open();
    const before = issuersOf(authority);
    const [root, ca] = before;
    clock.advance(12 * HOUR - 30 * SECOND - 1);
    expect(issuersOf(authority)).toBe(before);
    clock.advance(1);
    const [sameRoot, sameCa, next] = issuersOf(authority);
    expect([sameRoot!.id, sameCa!.id]).toEqual([root!.id, ca!.id]);
    expect(sameRoot!.signsUntil).toBe(next!.notAfter);
    for (let waited = 0; waited < 10; waited++) {
      expect((await issueX509(authority)).issuer).toBe(ca!.id);
      clock.advance(SECOND);
    }
    expect((await issueX509(authority)).issuer).toBe(next!.id);
    clock.advance(12 * HOUR + MINUTE);
    expect(issuersOf(authority).map(({ id }) => id)).toEqual([root!.id, next!.id, expect.any(String)]);
  });

  test('of half the lifetime of an issuing CA always fit, at every second of its change', async () => {
    const authority = open();
    clock.advance(12 * HOUR - MINUTE);
    const signers = new Set<string>();
    for (const end = clock.now() + 2 * MINUTE; clock.now() < end; clock.advance(SECOND)) {
      signers.add((await issueX509(authority, 12 * HOUR)).issuer);
    }
    expect(signers.size).toBe(2);
  });

  test('no issuing CA but the first signs before it was listed, whatever the clock does', async () => {
    const authority = open({ rootTtl: 10 * MINUTE, caTtl: 4 * MINUTE, jwtKeyTtl: 6 * MINUTE });
    const listedAt = new Map(issuersOf(authority).map(({ id }) => [id, Number.NEGATIVE_INFINITY]));
    let signers = 0;
    let last = '';
    for (const end = clock.monotonic() + 40 * MINUTE; clock.monotonic() < end; clock.advance(SECOND)) {
      for (const { id } of issuersOf(authority)) if (!listedAt.has(id)) listedAt.set(id, clock.monotonic());
      const { issuer } = await issueX509(authority, 30 * SECOND);
      expect(clock.monotonic() - listedAt.get(issuer)!).toBeGreaterThanOrEqual(9 * SECOND);
      if (issuer !== last) signers += 1;
      last = issuer;
      // Not so far that nothing would be valid any more.
      if (clock.monotonic() % (7 * MINUTE) === 0) clock.step(30 * SECOND);
    }
    expect(signers).toBeGreaterThan(10);
  });

  test('when no CA is valid any more the new one signs at once, and its list is asked for at once', async () => {
    const authority = open();
    clock.step(40 * DAY);
    const { issuer } = await issueX509(authority);
    expect(issuersOf(authority).map(({ id }) => id)).toContain(issuer);
  });
});

describe('a rotation that cannot be written', () => {
  // Root may write anywhere: the directory goes instead.
  function breakDisk(): () => void {
    const path = join(dataDir, 'authority');
    const kept = readFileSync(join(path, 'keys.json'));
    rmSync(path, { recursive: true });
    return () => {
      rmSync(path, { recursive: true, force: true });
      mkdirSync(path, { mode: 0o700 });
      writeFileSync(join(path, 'keys.json'), kept, { mode: 0o600 });
    };
  }

  test('leaves the keys that there are at work, is told, and is tried again', async () => {
    const authority = open({ jwtKeyTtl: 6 * HOUR });
    const before = bundleOf(authority);
    const repair = breakDisk();
    clock.advance(3 * HOUR);
    expect(bundleOf(authority)).toBe(before);
    expect(log.lines.at(-1)).toMatchObject({ level: 'error', event: 'authority.rotation_failed' });
    await expect(issueX509(authority)).resolves.toBeDefined();
    const failures = log.events.length;
    await issueX509(authority);
    expect(log.events).toHaveLength(failures);
    repair();
    clock.advance(5 * SECOND);
    expect(bundleOf(authority).jwtAuthorities).toHaveLength(2);
    expect(readFileSync(join(dataDir, 'authority/keys.json'), 'utf8')).toContain(`"sequence": 2`);
  });

  test('stops the signing once nothing is valid, and takes it up again by itself', async () => {
    const authority = open();
    const repair = breakDisk();
    clock.step(40 * DAY);
    await expect(issueX509(authority)).rejects.toMatchObject({ code: 'AUTHORITY_UNAVAILABLE' });
    expect(() => authority.signerExpiresAt('jwt')).toThrow(/the authority has no valid JWT key: cannot/);
    repair();
    clock.advance(5 * SECOND);
    expect(refusal(await issueX509(authority), bundleOf(authority), clock.now())).toBeUndefined();
  });
});

describe('what is on disk', () => {
  test('is closed to everybody else, and is one file', () => {
    open();
    expect(readdirSync(join(dataDir, 'authority'))).toEqual(['keys.json']);
    expect(statSync(join(dataDir, 'authority')).mode & 0o777).toBe(0o700);
    expect(statSync(join(dataDir, 'authority/keys.json')).mode & 0o777).toBe(0o600);
  });

  test('no log line has a key', () => {
    open();
    const keys = JSON.parse(readFileSync(join(dataDir, 'authority/keys.json'), 'utf8')) as {
      content: { roots: { key: string }[] };
    };
    const [root] = keys.content.roots;
    expect(JSON.stringify(log.lines)).not.toContain(root!.key.slice(40, 80));
  });
});

test('closing takes all alarms back, and may be done again', async () => {
  const authority = open();
  expect(clock.alarms).toBe(1);
  await authority.close();
  await authority.close();
  expect(clock.alarms).toBe(0);
  const before = bundleOf(authority);
  clock.step(40 * DAY);
  expect(bundleOf(authority)).toBe(before);
  await expect(issueX509(authority)).rejects.toMatchObject({
    code: 'AUTHORITY_UNAVAILABLE',
    message: 'the authority has no valid issuing CA: it was closed',
  });
});

function bind(of: ManualClock): LocalAuthorityOptions['clock'] {
  return {
    now: () => of.now(),
    monotonic: () => of.monotonic(),
    at: (time, run) => of.at(time, run),
    after: (ms, run) => of.after(ms, run),
  };
}
