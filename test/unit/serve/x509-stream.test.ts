import { createPrivateKey, X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { X509SVIDResponse } from '../../../agent/gen/workload_pb.js';
import { SpiffeWorkloadAPI } from '../../../agent/gen/workload_pb.js';
import { parseSelector } from '../../../agent/kernel/selector.ts';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import type { TrustBundle } from '../../../agent/svid/trust-bundle.ts';
import type { ApiWorld } from '../../support/api-world.ts';
import { apiWorld, ownEntry } from '../../support/api-world.ts';
import { readCrls } from '../../support/crl-reader.ts';
import { makeChain } from '../../support/issuer.ts';
import { MINUTE } from '../../support/lease-world.ts';

const { fetchX509SVID, fetchX509Bundles } = SpiffeWorkloadAPI.method;
const other = parseTrustDomain('other.org');
const foreignRoot = makeChain('ec-p256').root;
const foreign: TrustBundle = {
  trustDomain: other,
  x509Authorities: [foreignRoot],
  jwtAuthorities: [],
  witAuthorities: [],
  sequence: 1,
  refreshHint: 300,
};

let world: ApiWorld;
beforeEach(async () => {
  world = await apiWorld([ownEntry('web', { federatesWith: [other] })]);
});
afterEach(async () => {
  expect(world.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  await world.close();
  expect(world.clock.alarms).toBe(0);
  expect([...world.leases]).toEqual([]);
});

/** The certificates of a concatenation, by the lengths that DER says. */
function certificates(der: Uint8Array): X509Certificate[] {
  const found: X509Certificate[] = [];
  for (let at = 0; at < der.length; ) {
    const length = 4 + Buffer.from(der).readUInt16BE(at + 2);
    expect([der[at], der[at + 1]]).toEqual([0x30, 0x82]);
    found.push(new X509Certificate(der.subarray(at, at + length)));
    at += length;
  }
  return found;
}

function serial({ svids }: X509SVIDResponse): string {
  return certificates(svids[0]?.x509Svid ?? new Uint8Array())[0]?.serialNumber ?? '';
}

/** What has to have come by now has come: all that was told before this is delivered before its own answer. */
async function quiet(): Promise<void> {
  await world.clock.elapse(0);
  const bundles = world.client.stream(fetchX509Bundles, {});
  await bundles.at(1);
  bundles.cancel();
  await bundles.ended;
}

describe('an X.509-SVID', () => {
  it('comes with its key, its chain without the root, and the bundle of the trust domain', async () => {
    const { svids, crl, federatedBundles } = await world.client.stream(fetchX509SVID, {}).at(1);
    // Of the issuing CA and of the root; nothing is revoked.
    expect(readCrls(crl).map(({ issuer, serials }) => [issuer.split(' ')[0], serials])).toEqual(
      expect.arrayContaining([
        ['issuing', []],
        ['root', []],
      ]),
    );
    expect(crl).toHaveLength(2);
    expect(federatedBundles).toEqual({});
    expect(svids).toHaveLength(1);
    const [svid] = svids;
    expect(svid).toMatchObject({ spiffeId: 'spiffe://example.org/web', hint: '' });
    const [leaf, ca, ...rest] = certificates(svid?.x509Svid ?? new Uint8Array());
    const roots = certificates(svid?.bundle ?? new Uint8Array());
    expect(rest).toEqual([]);
    expect(roots).toHaveLength(1);
    const [root] = roots;
    if (leaf === undefined || ca === undefined || root === undefined) throw new Error('a certificate is missing');
    expect(leaf.subjectAltName).toBe('URI:spiffe://example.org/web');
    expect([leaf.ca, ca.ca, root.ca]).toEqual([false, true, true]);
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(ca.verify(root.publicKey)).toBe(true);
    expect(root.verify(root.publicKey)).toBe(true);
    const key = createPrivateKey({ key: Buffer.from(svid?.x509SvidKey ?? []), format: 'der', type: 'pkcs8' });
    expect(key.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(leaf.checkPrivateKey(key)).toBe(true);
  });

  it('comes for each entry, in the order of their ids, with hints', async () => {
    world.replaceEntries([ownEntry('z'), ownEntry('b', { hint: 'internal' }), ownEntry('a')]);
    const { svids } = await world.client.stream(fetchX509SVID, {}).at(1);
    expect(svids.map(({ spiffeId, hint }) => [spiffeId, hint])).toEqual([
      ['spiffe://example.org/a', ''],
      ['spiffe://example.org/b', 'internal'],
      ['spiffe://example.org/z', ''],
    ]);
  });
});

describe('a stream of X.509-SVIDs', () => {
  it('tells everything again when the certificate is renewed', async () => {
    const stream = world.client.stream(fetchX509SVID, {});
    const first = await stream.at(1);
    await world.clock.elapse(29 * MINUTE);
    await quiet();
    expect(stream.received).toHaveLength(1);
    await world.clock.elapse(2 * MINUTE);
    const second = await stream.at(2);
    expect(serial(second)).not.toBe(serial(first));
    expect(second.svids[0]?.x509SvidKey).not.toEqual(first.svids[0]?.x509SvidKey);
    expect(second.svids[0]?.bundle).toEqual(first.svids[0]?.bundle);
  });

  it('tells the same certificate again when a root joins the bundle', async () => {
    const stream = world.client.stream(fetchX509SVID, {});
    const first = await stream.at(1);
    const own = world.bundle.value;
    if (own === undefined) throw new Error('no bundle');
    world.bundle.set({ ...own, sequence: 2, x509Authorities: [...own.x509Authorities, foreignRoot] });
    const second = await stream.at(2);
    expect(serial(second)).toBe(serial(first));
    expect(Buffer.from(second.svids[0]?.bundle ?? [])).toEqual(Buffer.concat([...own.x509Authorities, foreignRoot]));
  });

  it('tells a federated bundle by its id when it appears, changes and goes; never an empty one', async () => {
    const stream = world.client.stream(fetchX509SVID, {});
    expect((await stream.at(1)).federatedBundles).toEqual({});
    world.federated.set(new Map([[other, { ...foreign, x509Authorities: [] }]]));
    await quiet();
    expect(stream.received).toHaveLength(1);
    world.federated.set(new Map([[other, foreign]]));
    const { federatedBundles } = await stream.at(2);
    expect(Object.keys(federatedBundles)).toEqual(['spiffe://other.org']);
    expect(Buffer.from(federatedBundles['spiffe://other.org'] ?? [])).toEqual(foreignRoot);
    world.federated.set(new Map([[other, { ...foreign, x509Authorities: [foreignRoot, foreignRoot] }]]));
    expect((await stream.at(3)).federatedBundles['spiffe://other.org']).toHaveLength(2 * foreignRoot.length);
    world.federated.set(new Map());
    expect((await stream.at(4)).federatedBundles).toEqual({});
  });

  it('tells none of the bundles that no entry federates with', async () => {
    world.replaceEntries([ownEntry('web')]);
    world.federated.set(new Map([[other, foreign]]));
    const stream = world.client.stream(fetchX509SVID, {});
    expect((await stream.at(1)).federatedBundles).toEqual({});
    world.replaceEntries([ownEntry('web', { federatesWith: [other] })]);
    expect(Object.keys((await stream.at(2)).federatedBundles)).toEqual(['spiffe://other.org']);
  });

  it('tells every change of what the process is entitled to', async () => {
    const stream = world.client.stream(fetchX509SVID, {});
    const first = await stream.at(1);
    world.replaceEntries([ownEntry('web', { federatesWith: [other] }), ownEntry('second')]);
    const both = await stream.at(2);
    expect(both.svids.map(({ spiffeId }) => spiffeId)).toEqual([
      'spiffe://example.org/second',
      'spiffe://example.org/web',
    ]);
    expect(both.svids[1]?.x509SvidKey).toEqual(first.svids[0]?.x509SvidKey);
    world.replaceEntries([ownEntry('second')]);
    expect((await stream.at(3)).svids).toHaveLength(1);
    world.replaceEntries([ownEntry('second', { hint: 'h' })]);
    expect((await stream.at(4)).svids[0]?.hint).toBe('h');
  });

  it('tells nothing while nothing has changed for it', async () => {
    const stream = world.client.stream(fetchX509SVID, {});
    await stream.at(1);
    const own = world.bundle.value;
    if (own === undefined) throw new Error('no bundle');
    // Only the keys of tokens.
    world.bundle.set({ ...own, sequence: 2, jwtAuthorities: [...own.jwtAuthorities, ...own.jwtAuthorities] });
    // What others are entitled to, and what is not in a response.
    world.replaceEntries([
      ownEntry('web', { federatesWith: [other], owner: 'somebody@example.org', source: 'moved.yaml:9' }),
      ownEntry('foreign', { selectors: [parseSelector('unix:uid:4000000000')] }),
    ]);
    world.federated.set(new Map([[parseTrustDomain('third.org'), foreign]]));
    await world.clock.elapse(5 * MINUTE);
    await quiet();
    expect(stream.received).toHaveLength(1);
    // The same stream still lives.
    world.replaceEntries([ownEntry('web', { hint: 'h', federatesWith: [other] })]);
    expect((await stream.at(2)).svids[0]?.hint).toBe('h');
  });

  it('ends when the last entry is withdrawn, and the key is gone', async () => {
    const stream = world.client.stream(fetchX509SVID, {});
    await stream.at(1);
    const key = [...world.leases][0]?.x509.current?.privateKey;
    world.replaceEntries([]);
    expect(await stream.ended).toEqual({ code: 'PERMISSION_DENIED', details: 'no identity issued' });
    expect(stream.received).toHaveLength(1);
    expect(key?.destroyed).toBe(true);
    expect(world.leases.ended.get('entry-removed')).toBe(1);
  });

  it('gives two connections of one process the same certificate', async () => {
    const first = await world.client.stream(fetchX509SVID, {}).at(1);
    const second = await world.connect().stream(fetchX509SVID, {}).at(1);
    expect(second.svids[0]?.x509SvidKey).toEqual(first.svids[0]?.x509SvidKey);
    expect(world.issuer.counts.x509).toBe(1);
  });
});

describe('a stream of X.509 bundles', () => {
  it('tells all bundles by id, without a certificate being made, and again only when a root changes', async () => {
    world.federated.set(new Map([[other, foreign]]));
    const stream = world.client.stream(fetchX509Bundles, {});
    const { bundles } = await stream.at(1);
    expect(Object.keys(bundles).toSorted()).toEqual(['spiffe://example.org', 'spiffe://other.org']);
    expect(certificates(bundles['spiffe://example.org'] ?? new Uint8Array())).toHaveLength(1);
    world.federated.set(new Map([[other, { ...foreign, sequence: 2, refreshHint: 5 }]]));
    await quiet();
    expect(stream.received).toHaveLength(1);
    world.federated.set(new Map([[other, { ...foreign, x509Authorities: [] }]]));
    expect(Object.keys((await stream.at(2)).bundles)).toEqual(['spiffe://example.org']);
    expect(world.issuer.counts.x509).toBe(0);
  });

  it('ends when the last entry is withdrawn', async () => {
    const stream = world.client.stream(fetchX509Bundles, {});
    await stream.at(1);
    world.replaceEntries([]);
    expect(await stream.ended).toEqual({ code: 'PERMISSION_DENIED', details: 'no identity issued' });
  });
});
