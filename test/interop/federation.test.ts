import { afterAll, beforeAll, expect, inject, it, vi } from 'vitest';
import { FederatedAgent } from '../support/federated-agent.ts';
import { leadsTo } from './certificates.ts';
import { Client } from './client.ts';
import { equipped } from './equipment.ts';

const { go } = inject('equipment');

// go-spiffe takes a moment to hand what it was told to its sources; after a restart of the agent it has a backoff besides.
const SOON = { timeout: 1000, interval: 20 };
const RECOVERY = { timeout: 20_000, interval: 100 };

equipped('mTLS between two trust domains, each with an agent of its own', [go], () => {
  const near = new FederatedAgent('example.org', 'other.org');
  // Short, so that after new keys were made the next certificate but one has a chain of new keys alone.
  const far = new FederatedAgent(
    'other.org',
    'example.org',
    'authority: { ca_ttl: 10s, jwt_key_ttl: 15s }\ndefaults: { x509_svid_ttl: 5s, jwt_svid_ttl: 5s }',
  );
  let client: Client;
  let server: Client;
  let address: string;
  const dial = () => client.ask('dial', { address, expect: 'spiffe://other.org/own' });
  const both = { peer: 'spiffe://other.org/own', us: 'spiffe://example.org/own' };

  beforeAll(async () => {
    await Promise.all([near.start(), far.start()]);
    client = Client.start(go, near.home.socket);
    server = Client.start(go, far.home.socket);
    await Promise.all([client.ask('watch'), server.ask('watch')]);
    address = await server.ask('listen', { expect: 'spiffe://example.org/own' });
  });
  afterAll(async () => {
    for (const each of [client, server, near, far]) await each[Symbol.asyncDispose]();
  });

  it('is refused before either has the bundle of the other', async () => {
    await expect(dial()).rejects.toThrow('no X.509 bundle for trust domain "other.org"');
    expect(server.of('accepted')).toEqual([]);
  });

  it('comes about once both have it, in a file that go-spiffe reads as well', async () => {
    await Promise.all([near.giveTo(far), far.giveTo(near)]);
    await vi.waitFor(async () => expect(await dial()).toEqual(both), SOON);
    const { refreshHint, sequence, x509Authorities, jwtAuthorities } = near.given();
    expect(await client.ask('load', { trustDomain: 'other.org', path: near.file })).toEqual({
      x509: x509Authorities.map((der) => der.toString('base64')),
      jwt: jwtAuthorities.map(({ kid }) => kid).toSorted(),
      sequence,
      refreshHint,
    });
    expect(sequence).toBeGreaterThan(0);
    const { token } = await server.ask('jwt', { audience: ['near'] });
    for (const how of ['validate', 'verify'] as const) {
      expect((await client.ask(how, { token, audience: ['near'] })).id).toBe('spiffe://other.org/own');
    }
  });

  it('goes on when one has new keys, and nothing that it presents leads to the old ones any more', async () => {
    const [oldRoot = ''] = near.given().x509Authorities.map((der) => der.toString('base64'));
    await using exporter = far.keepGiving(near);
    await exporter.lines.first(() => true, 'the first export');
    await far.start({ args: ['--set', 'authority.key_type=ec-p384'] });
    const newRoot = await vi.waitFor(() => {
      const roots = near.given().x509Authorities.map((der) => der.toString('base64'));
      expect(roots).toEqual([oldRoot, expect.any(String)]);
      return roots[1] ?? '';
    }, RECOVERY);
    await vi.waitFor(async () => {
      const identity = await server.ask('source');
      expect([leadsTo(identity, [oldRoot]), leadsTo(identity, [newRoot])]).toEqual([false, true]);
    }, RECOVERY);
    expect(await dial()).toEqual(both);
  });

  it('is refused by a client within a second when its agent is given a file without keys, until it is given keys', async () => {
    near.home.replace('other.json', '{"keys": []}');
    await vi.waitFor(() => expect(dial()).rejects.toThrow('no X.509 bundle for trust domain "other.org"'), SOON);
    const { token } = await server.ask('jwt', { audience: ['near'] });
    for (const how of ['validate', 'verify'] as const) {
      await expect(client.ask(how, { token, audience: ['near'] })).rejects.toThrow();
    }
    const accepted = server.of('accepted').length;
    await expect(dial()).rejects.toThrow();
    expect(server.of('accepted')).toHaveLength(accepted);
    await far.giveTo(near);
    await vi.waitFor(async () => expect(await dial()).toEqual(both), SOON);
  });

  it('is refused by a server within a second when its entry federates no more', async () => {
    const refused = server.of('refused').length;
    far.home.replace('entries/own.yaml', far.entry(false));
    await vi.waitFor(() => expect(dial()).rejects.toThrow('bad certificate'), SOON);
    expect((await server.event('refused', refused)).value).toContain('no X.509 bundle for trust domain "example.org"');
    const accepted = server.of('accepted').length;
    await expect(dial()).rejects.toThrow('bad certificate');
    expect(server.of('accepted')).toHaveLength(accepted);
    far.home.replace('entries/own.yaml', far.entry(true));
    await vi.waitFor(async () => expect(await dial()).toEqual(both), SOON);
  });
});
