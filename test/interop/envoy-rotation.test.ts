import { describe, expect, inject, it } from 'vitest';
import { eventually } from '../support/json-lines.ts';
import { Agent, entry } from './agent.ts';
import { envoyProxy } from './consumers.ts';
import { Load } from './envoy-load.ts';
import { API, EnvoyPair, WEB } from './envoy-pair.ts';
import { equipped, ROOT } from './equipment.ts';
import { cell, duration, evidence } from './evidence/evidence.ts';

const { envoy } = inject('equipment');

// The shortest there is: a new certificate each two and a half seconds.
const BRIEF = { x509_svid_ttl: '5s' };
const ROTATIONS = 3;
const ROTATING = [entry('api', BRIEF, API.uid), entry('web', BRIEF, WEB.uid)];
const STEADY = [entry('api', {}, API.uid), entry('web', {}, WEB.uid)];

equipped('two Envoys under steady load', [envoy, ROOT], () => {
  for (const variant of ['GRPC', 'DELTA_GRPC'] as const) {
    describe(variant, () => {
      it(
        'rotate their certificates without a failed request',
        evidence(cell(envoyProxy, 'rotation', 'no failed request')),
        async () => {
          await using agent = await Agent.start(ROTATING);
          await using pair = await EnvoyPair.start(envoy, agent, variant);
          const before = await pair.api.serials();
          const load = new Load(() => pair.ask());
          try {
            await eventually(
              `${ROTATIONS} rotations`,
              () => (load.serials.size > ROTATIONS || load.failures.length > 0 ? true : undefined),
              20_000,
            );
          } finally {
            await load.stop();
          }
          expect(load.failures).toEqual([]);
          expect(load.answered).toBeGreaterThan(100);
          // Each request was a handshake, with the certificate of its time.
          expect(await pair.web.stat('cluster.api.upstream_cx_total')).toBeGreaterThanOrEqual(load.answered);
          expect(load.serials).toContain((await pair.web.serials())[0]);
          expect(await pair.api.serials()).not.toEqual(before);
        },
      );

      it(
        'go on with what they have when the agent is stopped',
        evidence(cell(envoyProxy, 'stopped', 'goes on with what it has')),
        async () => {
          await using agent = await Agent.start(STEADY);
          await using pair = await EnvoyPair.start(envoy, agent, variant);
          const before = await pair.web.serials();
          expect(await agent.end('SIGTERM')).toBe(0);
          const load = new Load(() => pair.ask());
          await eventually('requests without an agent', () => (load.answered > 50 ? true : undefined));
          await load.stop();
          expect(load.failures).toEqual([]);
          expect([...load.serials]).toEqual(before);
        },
      );

      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        it(
          `go on while the agent is ended by ${signal}, and follow the next one`,
          evidence(duration(envoyProxy, 'restart')),
          async ({ task }) => {
            await using agent = await Agent.start(STEADY);
            await using pair = await EnvoyPair.start(envoy, agent, variant);
            const before = [await pair.web.serials(), await pair.api.serials()];
            const load = new Load(() => pair.ask());
            let took: number;
            try {
              expect(await agent.end(signal)).toBe(signal === 'SIGTERM' ? 0 : 'SIGKILL');
              const answered = load.answered;
              await eventually('requests without an agent', () => (load.answered > answered + 20 ? true : undefined));
              await agent.start();
              const start = performance.now();
              await eventually('both have an identity of the new agent', async () =>
                (await pair.web.serials())[0] !== before[0]?.[0] && (await pair.api.serials())[0] !== before[1]?.[0]
                  ? true
                  : undefined,
              );
              took = performance.now() - start;
              const answeredBy = load.answered;
              await eventually('requests with the new', () => (load.answered > answeredBy + 20 ? true : undefined));
            } finally {
              await load.stop();
            }
            expect(load.failures).toEqual([]);
            // Each stream tries again within a second of the last time.
            expect(took).toBeLessThan(3000);
            task.meta.tookMs = took;
          },
        );
      }
    });
  }
});
