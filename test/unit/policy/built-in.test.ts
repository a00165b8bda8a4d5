import { describe, expect, it } from 'vitest';
import { NO_CONTEXT } from '../../../agent/attest/context.ts';
import { parseAudiences } from '../../../agent/kernel/audience.ts';
import type { PolicyRules } from '../../../agent/policy/built-in.ts';
import { BuiltInPolicy } from '../../../agent/policy/built-in.ts';
import { assertGranted } from '../../../agent/policy/grant.ts';
import type { Entry } from '../../../agent/registry/entry.ts';
import { plainEntry } from '../../support/entry.ts';
import { livingInstance } from '../../support/instance.ts';

const NOW = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;
const RULES: PolicyRules = {
  defaultX509SvidTtl: 60 * MINUTE,
  defaultJwtSvidTtl: 5 * MINUTE,
  defaultWitSvidTtl: 40 * MINUTE,
  maxX509SvidTtl: 120 * MINUTE,
  maxJwtSvidTtl: 10 * MINUTE,
  maxWitSvidTtl: 90 * MINUTE,
  maxAudiences: 2,
  maxTokens: 3,
};
const ENTRY = plainEntry('web');

function request(entry: Partial<Entry>, signerExpiresAt = NOW + 365 * 24 * 60 * MINUTE) {
  return {
    instance: livingInstance(),
    selectors: new Set(ENTRY.selectors),
    context: NO_CONTEXT,
    entry: { ...ENTRY, ...entry },
    now: NOW,
    signerExpiresAt,
    bearable: (lifetime: number) => lifetime,
  };
}

const policy = new BuiltInPolicy(RULES, () => 'decision-1');
const x509 = (entry: Partial<Entry>, signerExpiresAt?: number) =>
  policy.decide({ kind: 'x509', occasion: 'first', ...request(entry, signerExpiresAt) });
const jwt = (entry: Partial<Entry>, audiences: string[], signerExpiresAt?: number, outstanding = 0) =>
  policy.decide({
    kind: 'jwt',
    occasion: 'on-demand',
    audiences: parseAudiences(audiences),
    outstanding,
    ...request(entry, signerExpiresAt),
  });

describe('the built-in policy', () => {
  it.each([
    ['the default', {}, undefined, 60, 'defaults'],
    ['the entry’s own', { x509SvidTtl: 30 * MINUTE }, undefined, 30, 'entry'],
    ['the maximum', { x509SvidTtl: 300 * MINUTE }, undefined, 120, 'max_x509_svid_ttl'],
    ['what its issuer has left', {}, NOW + 7 * MINUTE, 7, 'issuer'],
    ['what the entry has left', { expiresAt: NOW + 3 * MINUTE }, undefined, 3, 'expires_at'],
  ])('gives a certificate the shortest lifetime that is allowed: %s', async (_, entry, signer, minutes, rule) => {
    const decision = await x509(entry, signer);
    expect(decision).toMatchObject({
      kind: 'x509',
      decisionId: 'decision-1',
      issuedAt: NOW,
      expiresAt: NOW + minutes * MINUTE,
      rule,
    });
  });

  it.each([
    ['the default', {}, 5, 'defaults'],
    ['the entry’s own', { jwtSvidTtl: MINUTE }, 1, 'entry'],
    ['the maximum', { jwtSvidTtl: 60 * MINUTE }, 10, 'max_jwt_svid_ttl'],
  ])('gives a token the shortest lifetime that is allowed: %s', async (_, entry, minutes, rule) => {
    expect(await jwt(entry, ['a'])).toMatchObject({
      kind: 'jwt',
      audiences: ['a'],
      expiresAt: NOW + minutes * MINUTE,
      rule,
    });
  });

  it.each([
    ['the default', {}, undefined, 40, 'defaults'],
    ['the entry’s own', { witSvidTtl: 20 * MINUTE, jwtSvidTtl: MINUTE }, undefined, 20, 'entry'],
    ['the maximum', { witSvidTtl: 300 * MINUTE }, undefined, 90, 'max_wit_svid_ttl'],
    ['what its key has left', {}, NOW + 7 * MINUTE, 7, 'issuer'],
    ['what the entry has left', { expiresAt: NOW + 3 * MINUTE }, undefined, 3, 'expires_at'],
  ])('gives a WIT-SVID the shortest lifetime that is allowed: %s', async (_, entry, signer, minutes, rule) => {
    const decision = await policy.decide({ kind: 'wit', occasion: 'first', ...request(entry, signer) });
    expect(decision).toMatchObject({ kind: 'wit', issuedAt: NOW, expiresAt: NOW + minutes * MINUTE, rule });
    expect(decision).not.toHaveProperty('audiences');
  });

  it('refuses a token above the number that one process may have', async () => {
    expect(await jwt({}, ['a'], undefined, 2)).toMatchObject({ kind: 'jwt' });
    expect(await jwt({}, ['a'], undefined, 3)).toMatchObject({ kind: 'refusal', rule: 'max_tokens' });
  });

  it('refuses what has no life left', async () => {
    expect(await x509({ expiresAt: NOW })).toMatchObject({ kind: 'refusal', rule: 'expires_at' });
    expect(await jwt({}, ['a'], NOW - MINUTE)).toEqual({
      kind: 'refusal',
      decisionId: 'decision-1',
      rule: 'issuer',
      lifetimeAsked: 5 * MINUTE,
      message: 'nothing may be issued for entry web: issuer ended 1m ago',
    });
  });

  it('refuses an audience that the entry does not allow, also among allowed ones', async () => {
    const audiences = parseAudiences(['db']);
    expect(await jwt({ audiences }, ['db'])).toMatchObject({ kind: 'jwt' });
    expect(await jwt({ audiences }, ['db', 'queue'])).toMatchObject({
      kind: 'refusal',
      rule: 'audiences',
      message: 'entry web allows no token for the audience "queue"',
    });
  });

  it('refuses a token for more audiences than are allowed, whatever the entry says', async () => {
    expect(await jwt({}, ['a', 'b', 'c'])).toMatchObject({ kind: 'refusal', rule: 'max_audiences' });
  });

  it('decides by other rules once they are replaced', async () => {
    const changing = new BuiltInPolicy(RULES);
    changing.replaceRules({ ...RULES, maxX509SvidTtl: MINUTE });
    const decision = await changing.decide({ kind: 'x509', occasion: 'renewal', ...request({}) });
    expect(decision).toMatchObject({ expiresAt: NOW + MINUTE, rule: 'max_x509_svid_ttl' });
  });

  it('alone makes grants: a copy of one is none', async () => {
    const decision = await x509({});
    if (decision.kind === 'refusal') throw new Error('refused');
    expect(Object.isFrozen(decision)).toBe(true);
    expect(() => assertGranted(decision)).not.toThrow();
    expect(() => assertGranted({ ...decision })).toThrow('was not granted by a policy decision');
  });
});
