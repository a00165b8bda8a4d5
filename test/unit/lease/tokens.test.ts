import { describe, expect, it } from 'vitest';
import { parseAudiences } from '../../../agent/kernel/audience.ts';
import { parseSpiffeId } from '../../../agent/kernel/spiffe-id.ts';
import type { JwtSvid } from '../../../agent/lease/svid.ts';
import { Tokens } from '../../../agent/lease/tokens.ts';

const A = parseAudiences(['a']);
const AB = parseAudiences(['b', 'a']);

function token(issuedAt: number, name = 'token'): JwtSvid {
  return {
    decisionId: 'd',
    spiffeId: parseSpiffeId('spiffe://td/a'),
    token: name,
    jti: name,
    issuedAt,
    expiresAt: issuedAt + 300_000,
  };
}

describe('the tokens of a lease', () => {
  it('are handed out again until half their life is over', async () => {
    const tokens = new Tokens();
    const issued = await tokens.issue(A, () => Promise.resolve(token(0)));
    expect(tokens.current(A, 0)).toBe(issued);
    expect(tokens.current(A, 149_999)).toBe(issued);
    expect(tokens.current(A, 150_000)).toBeUndefined();
  });

  it('are not handed out from a future that a clock step took back', async () => {
    const tokens = new Tokens();
    await tokens.issue(A, () => Promise.resolve(token(1000)));
    expect(tokens.current(A, 999)).toBeUndefined();
  });

  it('go by the sorted set of audiences, whatever order was asked for', async () => {
    const tokens = new Tokens();
    await tokens.issue(AB, () => Promise.resolve(token(0)));
    expect(tokens.current(parseAudiences(['a', 'b']), 1)).toBeDefined();
    expect(tokens.current(A, 1)).toBeUndefined();
  });

  it('are signed once for all who ask meanwhile, and again after a failure', async () => {
    const tokens = new Tokens();
    let signings = 0;
    const fail = Promise.withResolvers<JwtSvid>();
    const sign = () => {
      signings += 1;
      return fail.promise;
    };
    const both = Promise.allSettled([tokens.issue(A, sign), tokens.issue(A, sign)]);
    fail.reject(new Error('down'));
    expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(signings).toBe(1);
    expect(tokens.issued).toBe(0);
    await tokens.issue(A, () => Promise.resolve(token(0)));
    expect(tokens.issued).toBe(1);
  });

  it('are kept for 64 audience sets: the longest unused goes first, and is remembered as issued', async () => {
    const tokens = new Tokens();
    for (let index = 0; index < 64; index += 1) {
      await tokens.issue(parseAudiences([`aud-${index}`]), () => Promise.resolve(token(index)));
    }
    expect(tokens.current(parseAudiences(['aud-0']), 100)).toBeDefined();
    await tokens.issue(A, () => Promise.resolve(token(5000)));
    expect(tokens.current(parseAudiences(['aud-0']), 100)).toBeDefined();
    expect(tokens.current(parseAudiences(['aud-1']), 100)).toBeUndefined();
    expect(tokens.issued).toBe(65);
    expect(tokens.lastExpiry).toBe(305_000);
  });
});
