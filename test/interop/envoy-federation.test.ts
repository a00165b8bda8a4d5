import { type KeyObject, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:tls';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { FederatedAgent } from '../support/federated-agent.ts';
import { eventually } from '../support/json-lines.ts';
import { envoyProxy } from './consumers.ts';
import { Envoy } from './envoy.ts';
import type { Identity, Variant } from './envoy-config.ts';
import { allow, answer, bootstrap, listener, to, upstream } from './envoy-config.ts';
import { Load } from './envoy-load.ts';
import { ask } from './envoy-pair.ts';
import { equipped } from './equipment.ts';
import { cell, evidence } from './evidence/evidence.ts';

const { envoy } = inject('equipment');

const NEAR = 'spiffe://example.org/own';
const FAR = 'spiffe://other.org/own';
const SOON_MS = 1000;
// Half of a certificate's time is longer than a restart takes on a busy machine.
const LIFETIMES = `
authority: { ca_ttl: 30s, jwt_key_ttl: 45s }
defaults: { x509_svid_ttl: 15s, jwt_svid_ttl: 15s }`;
// What a chain of new keys alone takes: a root that is published, then signs, and the certificates after that.
const NEW_KEYS_MS = 75_000;

for (const variant of ['GRPC', 'DELTA_GRPC'] satisfies Variant[]) {
  equipped(`Envoys of two trust domains, by ${variant}`, [envoy], () => {
    const near = new FederatedAgent('example.org', 'other.org');
    const far = new FederatedAgent('other.org', 'example.org', LIFETIMES);
    const identity = { certificate: 'default', peers: 'ALL', variant };
    let client: Envoy;
    let server: Envoy;
    let entrance: number;

    async function clientWith(asked: Identity): Promise<Envoy> {
      const resources = {
        listeners: [listener('entrance', to('far'))],
        clusters: [upstream('far', await server.port('mtls'), asked, { peer: FAR, once: true })],
      };
      return Envoy.start(envoy, bootstrap(near.home.socket, resources));
    }

    const answers = (status: number) => async () => ((await ask(entrance)).status === status ? true : undefined);

    beforeAll(async () => {
      await Promise.all([near.start(), far.start()]);
      const inside = listener('mtls', answer('hello'), identity, [allow(NEAR)]);
      server = await Envoy.start(envoy, bootstrap(far.home.socket, { listeners: [inside] }));
      client = await clientWith(identity);
      entrance = await client.port('entrance');
    });
    afterAll(async () => {
      for (const each of [client, server, near, far]) await each[Symbol.asyncDispose]();
    });

    it('do not speak before either has the bundle of the other', async () => {
      expect(await ask(entrance)).toMatchObject({ status: 503 });
      expect(await client.stat('cluster.far.ssl.fail_verify_error')).toBe(1);
      expect(await server.stat('listener.mtls.ssl.fail_verify_error')).toBe(0);

      await far.giveTo(near);
      await eventually('the server is the one that refuses', async () => {
        expect(await ask(entrance)).toMatchObject({ status: 503 });
        return (await server.stat('listener.mtls.ssl.fail_verify_error')) > 0 ? true : undefined;
      });
    });

    it('speak as soon as both have it', evidence(cell(envoyProxy, 'federation')), async () => {
      await near.giveTo(far);
      await eventually('an answer', answers(200), SOON_MS);
      expect(await ask(entrance)).toMatchObject({ status: 200, peer: NEAR });
    });

    it('go on without a failed request when one trust domain has new keys', {
      timeout: 2 * NEW_KEYS_MS,
      ...evidence(cell(envoyProxy, 'federation')),
    }, async () => {
      const old = near.given().x509Authorities;
      await using exporter = far.keepGiving(near);
      await exporter.lines.first(() => true, 'the first export');
      const load = new Load(() => ask(entrance));
      try {
        await far.start({ args: ['--set', 'authority.key_type=ec-p384'] });
        await eventually(
          'a chain that leads to a new root',
          async () => {
            const issuer = await issuerAt(await server.port('mtls'));
            const signers = near.given().x509Authorities.filter((root) => issuer.verify(publicKeyOf(root)));
            return signers.length > 0 && !signers.some((root) => old.some((each) => each.equals(root)))
              ? true
              : undefined;
          },
          NEW_KEYS_MS,
        );
        const { answered } = load;
        await eventually('requests with it', () => (load.answered > answered + 20 ? true : undefined));
      } finally {
        await load.stop();
      }
      expect(load.failures).toEqual([]);
    });

    it('do not speak within a second when a bundle is withdrawn, and do when it is back', async () => {
      near.home.replace('other.json', '{"keys": []}');
      await eventually('refused', answers(503), SOON_MS);
      await far.giveTo(near);
      await eventually('an answer', answers(200), SOON_MS);
    });

    it('do not either where the bundle was asked for by its own name, which Envoy would keep', async () => {
      await using named = await clientWith({ ...identity, peers: 'spiffe://other.org' });
      const through = await named.port('entrance');
      const status = (wanted: number) => async () => ((await ask(through)).status === wanted ? true : undefined);
      expect(await ask(through)).toMatchObject({ status: 200 });
      near.home.replace('other.json', '{"keys": []}');
      await eventually('refused', status(503), SOON_MS);
      expect(await named.stat('cluster.far.ssl.fail_verify_error')).toBeGreaterThan(0);
      await far.giveTo(near);
      await eventually('an answer', status(200), SOON_MS);
    });
  });
}

/** The CA of the certificate that a server shows. */
async function issuerAt(port: number): Promise<X509Certificate> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  // It asks for a certificate, which there is none of.
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  const issuer = socket.getPeerX509Certificate()?.issuerCertificate;
  socket.destroy();
  if (issuer === undefined) throw new Error('the server shows no chain');
  return issuer;
}

function publicKeyOf(root: Buffer): KeyObject {
  return new X509Certificate(root).publicKey;
}
