import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { Agent, entry } from './agent.ts';
import { envoyProxy } from './consumers.ts';
import { Envoy } from './envoy.ts';
import type { Variant } from './envoy-config.ts';
import { bootstrap, listener, to, upstream } from './envoy-config.ts';
import { API, ask, EnvoyPair, idOf, WEB } from './envoy-pair.ts';
import { equipped, ROOT } from './equipment.ts';
import { cell, evidence } from './evidence/evidence.ts';

const { envoy } = inject('equipment');

const STRANGER = { uid: 64_113, gid: 64_113 };
const VARIANTS: readonly (readonly [string, Variant])[] = [
  ['state of the world', 'GRPC'],
  ['delta', 'DELTA_GRPC'],
];

for (const [name, variant] of VARIANTS) {
  equipped(`two Envoys with ${name} SDS`, [envoy, ROOT], () => {
    let agent: Agent;
    let pair: EnvoyPair;

    /** What another Envoy gets that asks the server of the pair. */
    async function askedBy(ids: typeof STRANGER, peer: string) {
      const identity = { certificate: 'default', peers: 'ROOTCA', variant };
      const resources = {
        listeners: [listener('entrance', to('api'))],
        clusters: [upstream('api', pair.port, identity, { peer })],
      };
      await using other = await Envoy.start(envoy, bootstrap(agent.socket, resources), ids);
      const answer = await ask(await other.port('entrance'));
      return { answer, refused: await other.stat('cluster.api.ssl.fail_verify_san') };
    }

    beforeAll(async () => {
      agent = await Agent.start([
        entry('api', {}, API.uid),
        entry('stranger', {}, STRANGER.uid),
        entry('web', {}, WEB.uid),
      ]);
      pair = await EnvoyPair.start(envoy, agent, variant);
    });
    afterAll(async () => {
      await pair[Symbol.asyncDispose]();
      await agent[Symbol.asyncDispose]();
    });

    it(
      'speak mTLS, each with the identity of its own process',
      evidence(cell(envoyProxy, 'sds', name), cell(envoyProxy, 'mtls')),
      async () => {
        const [serial, ...others] = await pair.web.serials();
        expect(others).toEqual([]);
        expect(await pair.ask()).toEqual({ status: 200, body: 'hello', peer: idOf('web'), serial });
        expect(await pair.api.serials()).not.toContain(serial);
        expect(pair.web.log + pair.api.log).not.toContain('rejected');
      },
    );

    it('let one SPIFFE ID in and no other, by RBAC', evidence(cell(envoyProxy, 'access')), async () => {
      const { answer } = await askedBy(STRANGER, idOf('api'));
      expect(answer).toMatchObject({ status: 403, body: 'RBAC: access denied' });
      // Who it is was never in doubt.
      expect(await pair.api.stat('http.mtls.rbac.denied')).toBe(1);
      expect(await pair.api.stat('listener.mtls.ssl.fail_verify_error')).toBe(0);
      expect(await pair.ask()).toMatchObject({ status: 200 });
    });

    it('do not speak to a server with another SPIFFE ID', evidence(cell(envoyProxy, 'access')), async () => {
      const { answer, refused } = await askedBy(WEB, idOf('payments'));
      expect(answer).toMatchObject({ status: 503 });
      expect(refused).toBeGreaterThan(0);
    });
  });
}
