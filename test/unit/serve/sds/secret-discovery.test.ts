import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Any } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponse,
  DiscoveryRequestSchema,
} from '../../../../agent/gen/envoy/service/discovery/v3/discovery_pb.js';
import { SecretDiscoveryService } from '../../../../agent/gen/envoy/service/secret/v3/sds_pb.js';
import { parseSelector } from '../../../../agent/kernel/selector.ts';
import { parseSpiffeId, parseTrustDomain } from '../../../../agent/kernel/spiffe-id.ts';
import type { TrustBundle } from '../../../../agent/svid/trust-bundle.ts';
import type { ApiWorld } from '../../../support/api-world.ts';
import { apiWorld, ownEntry } from '../../../support/api-world.ts';
import { makeChain } from '../../../support/issuer.ts';
import { MINUTE } from '../../../support/lease-world.ts';
import type { ReadSecret } from '../../../support/secrets-read.ts';
import { readSecret } from '../../../support/secrets-read.ts';

const { deltaSecrets, fetchSecrets, streamSecrets } = SecretDiscoveryService.method;
const TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
const WEB = 'spiffe://example.org/web';
const other = parseTrustDomain('other.org');
const foreign: TrustBundle = {
  trustDomain: other,
  x509Authorities: [makeChain('ec-p256').root],
  jwtAuthorities: [],
  witAuthorities: [],
  sequence: 1,
  refreshHint: 300,
};

// The first one is the default one.
const ENTRIES = [ownEntry('a-web', { federatesWith: [other], spiffeId: parseSpiffeId(WEB) }), ownEntry('victim')];

let world: ApiWorld;
beforeEach(async () => {
  world = await apiWorld(ENTRIES);
});
afterEach(async () => {
  expect(world.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  await world.close();
  expect(world.clock.alarms).toBe(0);
  expect([...world.leases]).toEqual([]);
});

type StreamRequest = MessageInitShape<typeof DiscoveryRequestSchema>;
type DeltaRequest = MessageInitShape<typeof DeltaDiscoveryRequestSchema>;

const stream = () => world.client.duplex(streamSecrets);
const delta = () => world.client.duplex(deltaSecrets);

/** A stream that has asked for `names` once. */
function asking(names: string[], more: StreamRequest = {}) {
  const open = stream();
  open.send({ resourceNames: names, typeUrl: TYPE, ...more });
  return open;
}

function subscribing(names: string[], more: DeltaRequest = {}) {
  const open = delta();
  open.send({ resourceNamesSubscribe: names, typeUrl: TYPE, ...more });
  return open;
}

const secretsOf = ({ resources }: { resources: readonly Any[] }) => resources.map(readSecret);
const deltaSecretsOf = ({ resources }: DeltaDiscoveryResponse) => resources.map(({ resource }) => readSecret(resource));
const serialIn = (secrets: readonly ReadSecret[]) =>
  secrets.flatMap((secret) => (secret.kind === 'certificate' ? secret.serial : []));
const rootsIn = (response: { resources: readonly Any[] }) =>
  secretsOf(response).flatMap((secret) => (secret.kind === 'spiffe' ? (secret.domains['other.org']?.roots ?? []) : []));
const summary = (secrets: readonly ReadSecret[]) => secrets.map(({ kind, name }) => `${name} ${kind}`);

/** All that was told before this has come by now: it is delivered before the answer to this. */
async function quiet(): Promise<void> {
  await world.clock.elapse(0);
  await world.client.call(fetchSecrets, { resourceNames: ['ROOTCA'] });
}

/** Has the process hold a second identity, ends that, and says which serial is then on the list. */
async function revokeOne(): Promise<string> {
  const held = subscribing(['spiffe://example.org/victim']);
  await held.at(1);
  const lease = [...world.leases].find(({ entry }) => entry.id === 'victim');
  const serial = lease?.x509.current?.serial ?? '';
  if (lease !== undefined) world.leases.end(lease, 'revoked', { code: 'keyCompromise' });
  // Lists that changed a moment ago wait for this long.
  await world.clock.elapse(200);
  held.cancel();
  await held.ended;
  return serial;
}

describe('the secrets of a stream', () => {
  it('are the identity, for every name that means it', async () => {
    const { resources, typeUrl, versionInfo, nonce } = await asking(['default', WEB]).at(1);
    const secrets = resources.map(readSecret);
    expect(summary(secrets)).toEqual(['default certificate', `${WEB} certificate`]);
    expect(secrets).toEqual(secrets.map((secret) => ({ ...secret, id: WEB, serial: serialIn(secrets)[0] })));
    expect(typeUrl).toBe(TYPE);
    expect(versionInfo).not.toBe('');
    expect(nonce).not.toBe('');
    expect(serialIn(secretsOf(await asking(['default']).at(1)))).toEqual([serialIn(secrets)[0]]);
  });

  it('are the own bundle for every name that means it, with a list of every CA; no certificate is made for it', async () => {
    const secrets = secretsOf(await asking(['ROOTCA', 'spiffe://example.org']).at(1));
    expect(summary(secrets)).toEqual(['ROOTCA spiffe', 'spiffe://example.org spiffe']);
    for (const secret of secrets) {
      if (secret.kind !== 'spiffe') throw new Error('no bundle');
      expect(Object.keys(secret.domains)).toEqual(['example.org']);
      const { roots, lists } = secret.domains['example.org'] ?? { roots: [], lists: [] };
      expect(roots).toHaveLength(1);
      expect(lists.map(({ issuer, serials }) => [issuer.split(' ')[0], serials])).toEqual([
        ['root', []],
        ['issuing', []],
      ]);
    }
    expect(world.issuer.counts.x509).toBe(0);
    expect([...world.leases]).toEqual([]);
  });

  it('are all bundles by trust domain; none that is empty, and lists in the own one alone', async () => {
    const third = parseTrustDomain('a-third.org');
    world.replaceEntries([ownEntry('web', { federatesWith: [other, third] })]);
    world.federated.set(
      new Map([
        [other, foreign],
        [third, { ...foreign, trustDomain: third, x509Authorities: [] }],
      ]),
    );
    const [secret] = secretsOf(await asking(['ALL']).at(1));
    if (secret?.kind !== 'spiffe') throw new Error('no bundle');
    expect(Object.keys(secret.domains)).toEqual(['example.org', 'other.org']);
    expect(secret.domains['example.org']?.lists).toHaveLength(2);
    expect(secret.domains['other.org']?.lists).toEqual([]);
  });

  it('have no lists where the authority cannot give one of every CA, since Envoy would refuse all the others', async () => {
    world.signer.crls.set({ complete: false, reason: 'another agent signs under the same root' });
    await world.clock.elapse(0);
    const [secret] = secretsOf(await asking(['ROOTCA']).at(1));
    if (secret?.kind !== 'spiffe') throw new Error('no bundle');
    expect(secret.domains['example.org']?.roots).toHaveLength(1);
    expect(secret.domains['example.org']?.lists).toEqual([]);
  });

  it('are a federated bundle by its id, and never one that no entry federates with', async () => {
    world.federated.set(new Map([[other, foreign]]));
    const [secret] = secretsOf(await asking(['spiffe://other.org']).at(1));
    expect(secret).toMatchObject({ kind: 'spiffe', domains: { 'other.org': { lists: [] } } });
    world.replaceEntries([ownEntry('web')]);
    expect(await asking(['spiffe://other.org']).ended).toEqual({
      code: 'INVALID_ARGUMENT',
      details: 'workload is not authorized for the requested identities ["spiffe://other.org"]',
    });
  });

  it('are everything when none is named, or *', async () => {
    world.federated.set(new Map([[other, foreign]]));
    const all = [
      'spiffe://example.org spiffe',
      'spiffe://other.org spiffe',
      `${WEB} certificate`,
      'spiffe://example.org/victim certificate',
    ];
    expect(summary(secretsOf(await asking([]).at(1)))).toEqual(all);
    expect(summary(secretsOf(await asking(['*']).at(1)))).toEqual(all);
  });

  it('have the first identity as the default one', async () => {
    world.replaceEntries([ownEntry('web'), ownEntry('another')]);
    const [secret] = secretsOf(await asking(['default']).at(1));
    expect(secret).toMatchObject({ name: 'default', id: 'spiffe://example.org/another' });
  });

  it('have plain roots and lists where the configuration or the node asks for it', async () => {
    const plain = { node: { id: 'n', metadata: { disable_spiffe_cert_validation: 'true' } } };
    const [secret] = secretsOf(await asking(['ROOTCA'], plain).at(1));
    if (secret?.kind !== 'trusted-ca') throw new Error('no plain roots');
    expect(secret.bundle.roots).toHaveLength(1);
    expect(secret.bundle.lists).toHaveLength(2);
    // What means neither leaves the stricter way.
    const odd = { node: { id: 'n', metadata: { disable_spiffe_cert_validation: 'maybe' } } };
    expect(summary(secretsOf(await asking(['ROOTCA'], odd).at(1)))).toEqual(['ROOTCA spiffe']);

    await using configured = await closing(apiWorld([ownEntry('web')], { sds: { disableSpiffeCertValidation: true } }));
    const call = (node: object) => configured.client.call(fetchSecrets, { resourceNames: ['ROOTCA'], node });
    expect(summary(secretsOf(await call({})))).toEqual(['ROOTCA trusted-ca']);
    expect(summary(secretsOf(await call({ metadata: { disable_spiffe_cert_validation: false } })))).toEqual([
      'ROOTCA spiffe',
    ]);
  });

  it('are not the roots of several trust domains in one, where nothing would keep them apart', async () => {
    world.federated.set(new Map([[other, foreign]]));
    const plain = { node: { metadata: { disable_spiffe_cert_validation: true } } };
    const { code, details } = await asking(['ALL'], plain).ended;
    expect(code).toBe('INVALID_ARGUMENT');
    expect(details).toContain('each could vouch for the names of the others');
    expect(summary(secretsOf(await asking(['spiffe://other.org'], plain).at(1)))).toEqual([
      'spiffe://other.org trusted-ca',
    ]);
  });

  it('go by the names that were configured', async () => {
    await using configured = await closing(
      apiWorld([ownEntry('web')], {
        sds: { defaultSvidName: 'me', defaultBundleName: 'them', defaultAllBundlesName: 'any' },
      }),
    );
    const named = await configured.client.call(fetchSecrets, { resourceNames: ['me', 'them', 'any'] });
    expect(summary(secretsOf(named))).toEqual(['me certificate', 'them spiffe', 'any spiffe']);
    expect(await configured.client.told(fetchSecrets, { resourceNames: ['default'] })).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });

  it('have the meaning that their names have now, whatever they meant before', async () => {
    world.federated.set(new Map([[other, foreign]]));
    const domains = async () => {
      const [secret] = secretsOf(await world.client.call(fetchSecrets, { resourceNames: ['ROOTCA'] }));
      return secret?.kind === 'spiffe' ? Object.keys(secret.domains) : [];
    };
    expect(await domains()).toEqual(['example.org']);
    world.configureSds({ defaultBundleName: 'mine', defaultAllBundlesName: 'ROOTCA' });
    expect(await domains()).toEqual(['example.org', 'other.org']);
    world.configureSds({
      disableSpiffeCertValidation: true,
      defaultBundleName: 'ROOTCA',
      defaultAllBundlesName: 'ALL',
    });
    const [plain] = secretsOf(await world.client.call(fetchSecrets, { resourceNames: ['ROOTCA'] }));
    expect(plain).toMatchObject({ kind: 'trusted-ca' });
  });
});

describe('a stream of the state of the world', () => {
  it('tells the new certificate at a rotation, with a version and a nonce of its own', async () => {
    const open = asking(['default']);
    const first = await open.at(1);
    open.send({
      resourceNames: ['default'],
      typeUrl: TYPE,
      responseNonce: first.nonce,
      versionInfo: first.versionInfo,
    });
    await world.clock.elapse(31 * MINUTE);
    const second = await open.at(2);
    expect(serialIn(secretsOf(second))).not.toEqual(serialIn(secretsOf(first)));
    expect(second.versionInfo).not.toBe(first.versionInfo);
    expect(second.nonce).not.toBe(first.nonce);
    expect(world.acknowledgements).toMatchObject({ accepted: 1, rejected: 0 });
  });

  it('tells a revocation to who has asked for bundles, and not to who has asked for a certificate alone', async () => {
    const certificates = asking(['default']);
    await certificates.at(1);
    const bundles = asking(['ROOTCA']);
    await bundles.at(1);
    const serial = await revokeOne();
    const [secret] = secretsOf(await bundles.at(2));
    if (secret?.kind !== 'spiffe') throw new Error('no bundle');
    expect(secret.domains['example.org']?.lists.flatMap(({ serials }) => serials)).toEqual([serial]);
    await quiet();
    expect(certificates.received).toHaveLength(1);
    expect(bundles.received).toHaveLength(2);
  });

  it('answers names that change with all that is wanted then, and nothing when none is wanted any more', async () => {
    const open = asking(['default']);
    const first = await open.at(1);
    open.send({ resourceNames: ['default', 'ROOTCA'], typeUrl: TYPE, responseNonce: first.nonce });
    const second = await open.at(2);
    expect(summary(secretsOf(second))).toEqual(['default certificate', 'ROOTCA spiffe']);
    open.send({ resourceNames: ['ROOTCA'], typeUrl: TYPE, responseNonce: second.nonce });
    const third = await open.at(3);
    expect(summary(secretsOf(third))).toEqual(['ROOTCA spiffe']);
    open.send({ resourceNames: [], typeUrl: TYPE, responseNonce: third.nonce });
    await quiet();
    await revokeOne();
    await quiet();
    expect(open.received).toHaveLength(3);
    open.send({ resourceNames: ['ROOTCA'], typeUrl: TYPE, responseNonce: third.nonce });
    expect(summary(secretsOf(await open.at(4)))).toEqual(['ROOTCA spiffe']);
  });

  it('is told nothing more when it wants none any more after * or a name, although it began without one', async () => {
    for (const names of [['*'], ['ROOTCA', '*'], ['ROOTCA']]) {
      const open = asking([]);
      const { nonce } = await open.at(1);
      open.send({ resourceNames: names, typeUrl: TYPE, responseNonce: nonce });
      const answered = names.length === 1 && names[0] === '*' ? 1 : 2;
      const newest = await open.at(answered);
      open.send({ resourceNames: [], typeUrl: TYPE, responseNonce: newest.nonce });
      await quiet();
      await revokeOne();
      await quiet();
      expect(open.received).toHaveLength(answered);
      open.cancel();
      await open.ended;
    }
  });

  it('passes over a request with another nonce, and answers the one that has the newest', async () => {
    const open = asking(['default']);
    const { nonce, versionInfo } = await open.at(1);
    open.send({ resourceNames: ['ROOTCA'], typeUrl: TYPE, responseNonce: 'never given', versionInfo });
    open.send({ resourceNames: ['ROOTCA'], typeUrl: TYPE, responseNonce: '', versionInfo: 'from the future' });
    await quiet();
    expect(open.received).toHaveLength(1);
    expect(world.acknowledgements).toMatchObject({ accepted: 0, rejected: 0 });
    open.send({ resourceNames: ['ROOTCA'], typeUrl: TYPE, responseNonce: nonce });
    expect(summary(secretsOf(await open.at(2)))).toEqual(['ROOTCA spiffe']);
  });

  it('answers whoever comes back with the version of another stream in full', async () => {
    const before = asking(['default']);
    const { versionInfo } = await before.at(1);
    before.cancel();
    await before.ended;
    const after = asking(['default'], { versionInfo, responseNonce: '7' });
    expect(summary(secretsOf(await after.at(1)))).toEqual(['default certificate']);
  });

  it('tells of a response that was rejected, and sends it again only when it has changed', async () => {
    const open = asking(['ROOTCA'], { node: { id: 'sidecar-7' } });
    const { nonce } = await open.at(1);
    const errorDetail = { code: 13, message: 'Failed to load trusted CA certificate' };
    // A proxy says only once who it is.
    open.send({ resourceNames: ['ROOTCA'], typeUrl: TYPE, responseNonce: nonce, errorDetail });
    await quiet();
    expect(open.received).toHaveLength(1);
    const rejection = { node: 'sidecar-7', names: ['ROOTCA'], reason: errorDetail.message, pid: process.pid };
    expect(world.acknowledgements).toMatchObject({ accepted: 0, rejected: 1, last: rejection });
    expect(world.log.lines.filter(({ event }) => event === 'sds.rejected')).toMatchObject([
      { level: 'warn', fields: { node: 'sidecar-7', secrets: ['ROOTCA'] } },
    ]);
    await revokeOne();
    expect(summary(secretsOf(await open.at(2)))).toEqual(['ROOTCA spiffe']);
  });

  it('goes on to one that acknowledges nothing, with the newest', async () => {
    const open = asking(['default']);
    for (const count of [1, 2, 3]) {
      await open.at(count);
      await world.clock.elapse(31 * MINUTE);
    }
    const serials = open.received.flatMap((response) => serialIn(secretsOf(response)));
    expect(new Set(serials).size).toBe(serials.length);
    expect(serials.length).toBeGreaterThanOrEqual(3);
  });

  it('is given a bundle of nobody in place of one that is withdrawn, and that one again when it is back', async () => {
    world.federated.set(new Map([[other, foreign]]));
    const open = asking(['spiffe://other.org']);
    const first = await open.at(1);
    world.federated.set(new Map());
    const second = await open.at(2);
    expect(rootsIn(second)).toHaveLength(1);
    expect(rootsIn(second)).not.toEqual(rootsIn(first));
    world.federated.set(new Map([[other, foreign]]));
    expect(rootsIn(await open.at(3))).toEqual(rootsIn(first));

    world.federated.set(new Map());
    await open.at(4);
    // It was withdrawn while the agent was away.
    const back = asking(['spiffe://other.org'], { versionInfo: first.versionInfo });
    expect(rootsIn(await back.at(1))).toEqual(rootsIn(second));
    // Who has had nothing is told that there is nothing.
    expect(await asking(['spiffe://other.org']).ended).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('ends with what it asked for when the identity is withdrawn', async () => {
    world.replaceEntries([ownEntry('web'), ownEntry('second')]);
    const open = asking([WEB]);
    await open.at(1);
    world.replaceEntries([ownEntry('second')]);
    expect(await open.ended).toEqual({
      code: 'INVALID_ARGUMENT',
      details: `workload is not authorized for the requested identities ["${WEB}"]`,
    });
  });
});

describe('a delta stream', () => {
  it('tells what has changed, by name, and nothing else', async () => {
    const open = subscribing(['default', 'ROOTCA']);
    const first = await open.at(1);
    expect(summary(deltaSecretsOf(first))).toEqual(['default certificate', 'ROOTCA spiffe']);
    expect(first.resources.map(({ name }) => name)).toEqual(['default', 'ROOTCA']);
    expect(first.typeUrl).toBe(TYPE);
    open.send({ responseNonce: first.nonce });
    await world.clock.elapse(31 * MINUTE);
    const second = await open.at(2);
    expect(summary(deltaSecretsOf(second))).toEqual(['default certificate']);
    expect(second.removedResources).toEqual([]);
    expect(second.nonce).not.toBe(first.nonce);
    expect(second.resources[0]?.version).not.toBe(first.resources[0]?.version);
    expect(world.acknowledgements.accepted).toBe(1);
  });

  it('sends nothing again to who comes back with what is newest, and what has changed meanwhile', async () => {
    const before = subscribing(['default', 'ROOTCA']);
    const { resources } = await before.at(1);
    const initialResourceVersions = Object.fromEntries(resources.map(({ name, version }) => [name, version]));
    const after = subscribing(['default', 'ROOTCA'], { initialResourceVersions });
    await quiet();
    expect(after.received).toEqual([]);
    await revokeOne();
    expect(summary(deltaSecretsOf(await after.at(1)))).toEqual(['ROOTCA spiffe']);
    const outdated = subscribing(['ROOTCA'], { initialResourceVersions: { ROOTCA: 'of another agent', else: 'x' } });
    expect(summary(deltaSecretsOf(await outdated.at(1)))).toEqual(['ROOTCA spiffe']);
  });

  it('takes names on and off while it is open', async () => {
    const open = subscribing(['ROOTCA']);
    await open.at(1);
    open.send({ resourceNamesSubscribe: ['default'] });
    expect(summary(deltaSecretsOf(await open.at(2)))).toEqual(['default certificate']);
    open.send({ resourceNamesUnsubscribe: ['default'] });
    await quiet();
    await world.clock.elapse(31 * MINUTE);
    await quiet();
    expect(open.received).toHaveLength(2);
    // Who asks again for what it has is sent it again.
    open.send({ resourceNamesSubscribe: ['ROOTCA'] });
    expect(summary(deltaSecretsOf(await open.at(3)))).toEqual(['ROOTCA spiffe']);
  });

  it('tells everything when it begins without a name, until that is taken off', async () => {
    const open = subscribing([]);
    expect(summary(deltaSecretsOf(await open.at(1)))).toEqual([
      'spiffe://example.org spiffe',
      `${WEB} certificate`,
      'spiffe://example.org/victim certificate',
    ]);
    world.federated.set(new Map([[other, foreign]]));
    expect(summary(deltaSecretsOf(await open.at(2)))).toEqual(['spiffe://other.org spiffe']);
    world.federated.set(new Map());
    expect(await open.at(3)).toMatchObject({ resources: [], removedResources: ['spiffe://other.org'] });
    open.send({ resourceNamesUnsubscribe: ['*'] });
    await quiet();
    world.federated.set(new Map([[other, foreign]]));
    await quiet();
    expect(open.received).toHaveLength(3);
  });

  it('is given a bundle of nobody in place of one that is withdrawn, and that one again when it is back', async () => {
    world.federated.set(new Map([[other, foreign]]));
    const open = subscribing(['spiffe://other.org']);
    const roots = (response: DeltaDiscoveryResponse) =>
      rootsIn({ resources: response.resources.flatMap(({ resource }) => resource ?? []) });
    const first = await open.at(1);
    world.federated.set(new Map());
    const second = await open.at(2);
    expect(second.removedResources).toEqual([]);
    expect(roots(second)).toHaveLength(1);
    expect(roots(second)).not.toEqual(roots(first));
    world.federated.set(new Map([[other, foreign]]));
    expect(roots(await open.at(3))).toEqual(roots(first));
    world.federated.set(new Map());
    await open.at(4);
    const initialResourceVersions = { 'spiffe://other.org': first.resources[0]?.version ?? '' };
    const back = subscribing(['spiffe://other.org'], { initialResourceVersions });
    expect(roots(await back.at(1))).toEqual(roots(second));
    expect(await subscribing(['spiffe://other.org']).ended).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('tells that an identity is gone, and gives it again when it is back', async () => {
    world.replaceEntries([ownEntry('web'), ownEntry('second')]);
    const open = subscribing([WEB, 'default']);
    await open.at(1);
    world.replaceEntries([ownEntry('second')]);
    expect(await open.at(2)).toMatchObject({ resources: [], removedResources: [WEB] });
    world.replaceEntries([ownEntry('web'), ownEntry('second')]);
    expect(summary(deltaSecretsOf(await open.at(3)))).toEqual([`${WEB} certificate`]);
  });

  it('tells of what was rejected under the names that were in it; of a nonce that was never given it takes no notice', async () => {
    const open = subscribing(['ROOTCA']);
    const { nonce } = await open.at(1);
    for (const responseNonce of ['9', '-1', 'x', '1.5'])
      open.send({ responseNonce, errorDetail: { code: 13, message: 'no' } });
    open.send({ responseNonce: nonce, errorDetail: { code: 13, message: 'no' } });
    open.send({ responseNonce: nonce, errorDetail: { code: 13, message: 'no' } });
    await quiet();
    expect(world.acknowledgements).toMatchObject({
      accepted: 0,
      rejected: 1,
      last: { names: ['ROOTCA'], reason: 'no' },
    });
    expect(open.received).toHaveLength(1);
  });
});

describe('a bad request', () => {
  const streams = [
    ['of the state of the world', asking],
    ['of changes', subscribing],
  ] as const;
  for (const [which, open] of streams) {
    it.each([
      ['another’s identity', [`spiffe://example.org/admin`], '["spiffe://example.org/admin"]'],
      ['a name that means nothing, beside good ones', ['default', 'nonsense'], '["nonsense"]'],
      ['files of the proxy', ['file-cert:/etc/cert.pem~/etc/key.pem'], 'ask for a SPIFFE ID instead'],
      ['more names than are ever wanted', Array.from({ length: 300 }, (_, at) => `spiffe://d${at}.org`), 'at most 256'],
      ['names without end', Array.from({ length: 9000 }, (_, at) => `x${at}`), 'and 8990 more'],
    ])(`${which}, for %s, is told so and served nothing`, async (_what, names, details) => {
      const served = asking(['default']);
      await served.at(1);
      const bad = open(names);
      expect(await bad.ended).toEqual({ code: 'INVALID_ARGUMENT', details: expect.stringContaining(details) });
      expect(bad.received).toEqual([]);
      // The others are served on.
      await world.clock.elapse(31 * MINUTE);
      await served.at(2);
    });

    it(`${which}, for something else than secrets, is told so`, async () => {
      const typeUrl = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
      expect(await open(['default'], { typeUrl }).ended).toMatchObject({
        code: 'INVALID_ARGUMENT',
        details: expect.stringContaining(typeUrl),
      });
      expect(world.issuer.counts.x509).toBe(0);
    });

    it(`${which}, from a process that no entry matches, is refused`, async () => {
      world.replaceEntries([ownEntry('web', { selectors: [parseSelector('unix:uid:4000000000')] })]);
      const refused = open(['default']);
      expect(await refused.ended).toEqual({ code: 'PERMISSION_DENIED', details: 'no identity issued' });
      expect(refused.received).toEqual([]);
    });
  }

  it('is answered where the client says its last with it, and then the stream is over', async () => {
    const open = asking(['ROOTCA']);
    open.end();
    expect(await open.ended).toEqual({ code: 'OK', details: 'OK' });
    expect(open.received).toHaveLength(1);
    const silent = stream();
    silent.end();
    expect(await silent.ended).toEqual({ code: 'OK', details: 'OK' });
    expect(world.issuer.counts.x509).toBe(0);
  });

  it('is held while it is not known who the caller is', async () => {
    world.fault.attestation = 'hangs';
    const open = asking(['default']);
    await world.clock.elapse(0);
    expect(open.received).toEqual([]);
    world.fault.attestation = undefined;
    world.fault.attestationGoesOn.resolve();
    expect(summary(secretsOf(await open.at(1)))).toEqual(['default certificate']);
  });
});

describe('a fetch', () => {
  it('has what a stream would begin with, and its connection can be used again', async () => {
    for (const _ of [1, 2]) {
      const fetched = await world.client.call(fetchSecrets, { resourceNames: ['default', 'ALL'], typeUrl: TYPE });
      expect(summary(secretsOf(fetched))).toEqual(['default certificate', 'ALL spiffe']);
    }
    expect(world.issuer.counts.x509).toBeGreaterThan(0);
  });

  it('is refused as a stream is', async () => {
    expect(await world.client.told(fetchSecrets, { resourceNames: ['nonsense'] })).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    world.replaceEntries([]);
    expect(await world.client.told(fetchSecrets, { resourceNames: ['ROOTCA'] })).toEqual({
      code: 'PERMISSION_DENIED',
      details: 'no identity issued',
    });
  });
});

/** A world that is closed at the end of its block. */
async function closing(opening: Promise<ApiWorld>) {
  const opened = await opening;
  return Object.assign(opened, { [Symbol.asyncDispose]: () => opened.close() });
}
