import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { notAuthorized, parseSecretName } from '../../../../agent/serve/sds/resource-name.ts';

const names = { defaultSvidName: 'default', defaultBundleName: 'ROOTCA', defaultAllBundlesName: 'ALL' };

describe('the name of a secret', () => {
  it.each([
    ['default', { kind: 'svid' }],
    ['ROOTCA', { kind: 'bundle' }],
    ['ALL', { kind: 'all-bundles' }],
    ['spiffe://example.org/a/b', { kind: 'svid', id: 'spiffe://example.org/a/b' }],
    ['spiffe://other.org', { kind: 'bundle', trustDomain: 'other.org' }],
  ])('%s has its meaning', (name, meaning) => {
    expect(parseSecretName(name, names)).toEqual({ name, ...meaning });
  });

  it('is the one that was configured, and no other any more', () => {
    const istio = { ...names, defaultBundleName: 'bundle' };
    expect(parseSecretName('bundle', istio)).toEqual({ name: 'bundle', kind: 'bundle' });
    expect(parseSecretName('ROOTCA', istio)).toBeUndefined();
  });

  it.each(['', 'Default', 'spiffe://', 'spiffe://example.org/', 'spiffe://EXAMPLE.org/a', 'file-cert:/a~/b', '../x'])(
    '%j means nothing',
    (name) => {
      expect(parseSecretName(name, names)).toBeUndefined();
    },
  );

  it('of any kind throws nothing', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (name) => void parseSecretName(name, names)));
  });
});

describe('the answer to names that the caller may not have', () => {
  it('says them as SPIRE does, in order', () => {
    expect(notAuthorized(['spiffe://example.org/b', 'a']).message).toBe(
      'workload is not authorized for the requested identities ["a" "spiffe://example.org/b"]',
    );
  });

  it('says of files of the proxy why there are none', () => {
    expect(notAuthorized(['file-root:/etc/root.pem']).message).toContain(
      'file-cert: and file-root: name files of the proxy',
    );
  });

  it('is never larger than the trailers of a call may be', () => {
    const many = Array.from({ length: 10_000 }, (_, index) => `${index}${'x'.repeat(1000)}`);
    const { message } = notAuthorized(many);
    expect(message).toMatch(/ and 9990 more$/);
    expect(message.length).toBeLessThan(3000);
  });
});
