import { randomBytes } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { X509BundlesResponseSchema, X509SVIDResponseSchema } from '../../../agent/gen/workload_pb.js';
import { Secret } from '../../../agent/kernel/secret.ts';
import { parseSpiffeId, parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import type { X509Update } from '../../../agent/lease/updates.ts';
import { identitiesDigest, x509BundlesMessage, x509Message } from '../../../agent/serve/x509-message.ts';
import type { TrustBundle } from '../../../agent/svid/trust-bundle.ts';

function bundleOf(name: string, ...roots: Buffer[]): TrustBundle {
  return {
    trustDomain: parseTrustDomain(name),
    x509Authorities: roots,
    jwtAuthorities: [],
    witAuthorities: [],
    sequence: 1,
    refreshHint: 60,
  };
}

const own = bundleOf('example.org', randomBytes(300));
const other = bundleOf('other.org', randomBytes(300), randomBytes(20));
const empty = bundleOf('empty.org');

function svidOf(name: string, keyLength: number, hint = '') {
  const svid = {
    decisionId: name,
    spiffeId: parseSpiffeId(`spiffe://example.org/${name}`),
    chain: [randomBytes(400), randomBytes(300)] as const,
    privateKey: new Secret(randomBytes(keyLength)),
    serial: name,
    notBefore: 0,
    issuedAt: 0,
    expiresAt: 1,
  };
  return { svid: { ...svid, chain: [...svid.chain] as [Buffer, Buffer] }, hint };
}

const lists = { number: 7, crls: [randomBytes(200), randomBytes(20_000)] };

describe('the answer of FetchX509SVID', () => {
  // Lengths on both sides of where a length takes one byte more.
  it.each([
    [[121], []],
    [[127, 128], [other]],
    [
      [138, 1700, 16_384],
      [other, empty],
    ],
  ])('with keys of %j bytes is what a general encoder makes of it', (lengths, federated) => {
    const update: X509Update = {
      svids: lengths.map((length, index) => svidOf(`web-${index}`, length, index === 0 ? 'internal' : '')),
      own,
      federated,
    };
    using message = x509Message(update, lists);
    const bundle = Buffer.concat(own.x509Authorities);
    const expected = create(X509SVIDResponseSchema, {
      svids: update.svids.map(({ svid, hint }) => ({
        spiffeId: svid.spiffeId,
        x509Svid: Buffer.concat(svid.chain),
        x509SvidKey: svid.privateKey.reveal(),
        bundle,
        hint,
      })),
      crl: lists.crls,
      federatedBundles: federated.includes(other) ? { 'spiffe://other.org': Buffer.concat(other.x509Authorities) } : {},
    });
    const decoded = fromBinary(X509SVIDResponseSchema, message.bytes);
    expect(toBinary(X509SVIDResponseSchema, decoded)).toEqual(toBinary(X509SVIDResponseSchema, expected));
  });

  it('can be made again, since only its bytes are wiped', () => {
    const update: X509Update = { svids: [svidOf('web', 121)], own, federated: [] };
    const first = x509Message(update, lists);
    const bytes = Buffer.from(first.bytes);
    first[Symbol.dispose]();
    using second = x509Message(update, lists);
    expect(second.bytes.equals(bytes)).toBe(true);
    expect(first.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('is told from another by its identities, without the lists', () => {
    const update: X509Update = { svids: [svidOf('web', 121)], own, federated: [] };
    const hinted: X509Update = { ...update, svids: update.svids.map(({ svid }) => ({ svid, hint: 'other' })) };
    expect(identitiesDigest({ ...update })).toEqual(identitiesDigest(update));
    expect(identitiesDigest(hinted)).not.toEqual(identitiesDigest(update));
  });
});

describe('the answer of FetchX509Bundles', () => {
  it('has the lists and every bundle that is not empty', () => {
    const decoded = fromBinary(
      X509BundlesResponseSchema,
      x509BundlesMessage({ own, federated: [other, empty] }, lists),
    );
    expect(decoded.crl.map((crl) => Buffer.from(crl))).toEqual(lists.crls);
    expect(Object.keys(decoded.bundles)).toEqual(['spiffe://example.org', 'spiffe://other.org']);
  });

  it('is one message for all who are told the same', () => {
    const update = { own, federated: [] };
    expect(x509BundlesMessage(update, lists)).toBe(x509BundlesMessage(update, lists));
    expect(x509BundlesMessage(update, { ...lists })).not.toBe(x509BundlesMessage(update, lists));
  });
});
