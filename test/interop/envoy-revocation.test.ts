import type { Server } from 'node:https';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { comeAndGo } from '../support/come-and-go.ts';
import { eventually } from '../support/json-lines.ts';
import { WorkloadClient } from '../support/workload-client.ts';
import { Agent, entry, FEDERATED_DOMAIN } from './agent.ts';
import { envoyProxy } from './consumers.ts';
import { Envoy } from './envoy.ts';
import type { Variant } from './envoy-config.ts';
import { bootstrap, listener, to, upstream } from './envoy-config.ts';
import { Load } from './envoy-load.ts';
import type { PairOptions } from './envoy-pair.ts';
import { API, ask, EnvoyPair, idOf, WEB } from './envoy-pair.ts';
import { equipped, ROOT } from './equipment.ts';
import { cell, evidence } from './evidence/evidence.ts';

import { StolenIdentity, VERSIONS } from './stolen-identity.ts';

const { envoy } = inject('equipment');

const DEATH_MS = 1000;
const WAYS: readonly (readonly [string, Variant, PairOptions])[] = [
  ['its own bundle', 'GRPC', {}],
  ['its own bundle in delta SDS', 'DELTA_GRPC', { identity: { peers: 'spiffe://example.org' } }],
  ['all bundles', 'GRPC', { identity: { peers: 'ALL' } }],
  ['all bundles in delta SDS', 'DELTA_GRPC', { identity: { peers: 'ALL' } }],
  ['a plain trusted_ca', 'GRPC', { metadata: { disable_spiffe_cert_validation: true }, identity: { nodeOnce: true } }],
  [
    'a plain trusted_ca in delta SDS',
    'DELTA_GRPC',
    { metadata: { disable_spiffe_cert_validation: 'true' }, identity: { nodeOnce: true } },
  ],
];

for (const [name, variant, options] of WAYS) {
  equipped(`an Envoy that verifies by ${name}`, [envoy, ROOT], () => {
    let agent: Agent;
    let pair: EnvoyPair;
    beforeAll(async () => {
      agent = await Agent.start([
        entry('api', { federates_with: [FEDERATED_DOMAIN] }, API.uid),
        entry('victim'),
        entry('web', { federates_with: [FEDERATED_DOMAIN] }, WEB.uid),
      ]);
      pair = await EnvoyPair.start(envoy, agent, variant, { ...options, allowed: [idOf('victim'), idOf('web')] });
    });
    afterAll(async () => {
      await pair[Symbol.asyncDispose]();
      await agent[Symbol.asyncDispose]();
    });

    it(
      'refuses a stolen identity within a second of the death of its process, in resumed sessions too',
      evidence(cell(envoyProxy, 'revocation', `within ${DEATH_MS / 1000} s`)),
      async () => {
        await using victim = new WorkloadClient(agent.socket);
        const thief = await StolenIdentity.of(victim);
        const sessions: (Buffer | undefined)[] = [];
        for (const version of VERSIONS) {
          const first = await thief.knock(pair.port, version);
          expect(first).toMatchObject({ status: 200, resumed: false });
          sessions.push(first.session);
          expect(await thief.knock(pair.port, version, first.session)).toMatchObject({ status: 200, resumed: true });
        }

        victim.kill();
        const died = performance.now();
        await eventually('it is refused', async () =>
          (await thief.knock(pair.port, 'TLSv1.3')).status === undefined ? true : undefined,
        );
        for (const [index, version] of VERSIONS.entries()) {
          expect(await thief.knock(pair.port, version, sessions[index])).toMatchObject({ status: undefined });
          expect(await thief.knock(pair.port, version)).toMatchObject({ status: undefined });
        }
        expect(performance.now() - died).toBeLessThan(DEATH_MS);

        // The update was written as the node had once said; the SPIFFE validator names the trust domain of the roots.
        const plain = options.metadata !== undefined;
        expect(await pair.api.authorities()).toEqual([
          expect.stringMatching(plain ? /^<inline>$/ : /^(example|other)\.org: <inline>$/),
        ]);
        // Nobody else is refused, and the next process of the same entry has an identity of its own.
        expect(await pair.ask()).toMatchObject({ status: 200, peer: idOf('web') });
        await using successor = new WorkloadClient(agent.socket);
        expect(await (await StolenIdentity.of(successor)).knock(pair.port, 'TLSv1.3')).toMatchObject({ status: 200 });
      },
    );

    it(
      'does not speak to a server with such an identity',
      evidence(cell(envoyProxy, 'revocation', `within ${DEATH_MS / 1000} s`)),
      async () => {
        await using victim = new WorkloadClient(agent.socket);
        await using server = await (await StolenIdentity.of(victim)).serve();
        const identity = { certificate: 'default', peers: 'ROOTCA', variant, ...options.identity };
        const resources = {
          listeners: [listener('entrance', to('victim'))],
          clusters: [upstream('victim', portOf(server), identity, { peer: idOf('victim'), once: true })],
        };
        await using client = await Envoy.start(envoy, bootstrap(agent.socket, resources, options.metadata), WEB);
        const entrance = await client.port('entrance');
        for (const _ of [1, 2]) expect(await ask(entrance)).toMatchObject({ status: 200 });
        expect(await client.stat('cluster.victim.ssl.session_reused')).toBe(1);

        victim.kill();
        const died = performance.now();
        await eventually('it is refused', async () => ((await ask(entrance)).status === 503 ? true : undefined));
        expect(performance.now() - died).toBeLessThan(DEATH_MS);
        expect(await ask(entrance)).toMatchObject({ status: 503 });
        expect(await client.stat('cluster.victim.ssl.fail_verify_error')).toBeGreaterThan(0);
        expect(await pair.ask()).toMatchObject({ status: 200 });
      },
    );
  });
}

equipped('an Envoy that is told of one death after another', [envoy, ROOT], () => {
  for (const variant of ['GRPC', 'DELTA_GRPC'] satisfies Variant[]) {
    it(`refuses each within a second (${variant})`, async () => {
      await using agent = await Agent.start([entry('api', {}, API.uid), entry('victim'), entry('web', {}, WEB.uid)]);
      const allowed = [idOf('victim'), idOf('web')];
      await using pair = await EnvoyPair.start(envoy, agent, variant, { allowed });
      const load = new Load(() => pair.ask());
      const over = new AbortController();
      const churn = async () => {
        while (!over.signal.aborted) await comeAndGo(agent.socket, 'leave');
      };
      const churning = Promise.all([churn(), churn()]);
      const took: number[] = [];
      try {
        for (const _ of [1, 2, 3]) {
          await using victim = new WorkloadClient(agent.socket);
          const thief = await StolenIdentity.of(victim);
          expect(await thief.knock(pair.port, 'TLSv1.3')).toMatchObject({ status: 200 });
          victim.kill();
          const died = performance.now();
          await eventually('it is refused', async () =>
            (await thief.knock(pair.port, 'TLSv1.3')).status === undefined ? true : undefined,
          );
          took.push(performance.now() - died);
        }
      } finally {
        over.abort();
        await churning;
        await load.stop();
      }
      expect(took.filter((ms) => ms >= DEATH_MS)).toEqual([]);
      expect(load.failures).toEqual([]);
    });
  }
});

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server listens on no port');
  return address.port;
}
