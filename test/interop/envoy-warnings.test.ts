import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { eventually } from '../support/json-lines.ts';
import { WorkloadClient } from '../support/workload-client.ts';
import { Agent, entry } from './agent.ts';
import { envoyProxy } from './consumers.ts';
import type { Config } from './envoy.ts';
import { Envoy } from './envoy.ts';
import { answer, bootstrap, listener } from './envoy-config.ts';
import { equipped } from './equipment.ts';
import { evidence, quirk } from './evidence/evidence.ts';

import type { Knock } from './stolen-identity.ts';
import { StolenIdentity } from './stolen-identity.ts';

const { envoy } = inject('equipment');

const OWN_KEYS = { session_ticket_keys: { keys: [{ inline_bytes: Buffer.alloc(80, 7).toString('base64') }] } };
const NO_TICKETS = { disable_stateless_session_resumption: true, disable_stateful_session_resumption: true };

// Should Envoy come to do better, a warning is to go.
equipped('what docs/envoy.md warns of', [envoy], () => {
  let agent: Agent;
  beforeAll(async () => {
    agent = await Agent.start([entry('own')]);
  });
  afterAll(() => agent[Symbol.asyncDispose]());

  function serverWith(peers: string, tls: Config = {}): Promise<Envoy> {
    const identity = { certificate: 'default', peers, variant: 'GRPC' as const };
    return Envoy.start(
      envoy,
      bootstrap(agent.socket, { listeners: [listener('mtls', answer('hello'), identity, [], tls)] }),
    );
  }

  /** A revoked identity against a server: with the session of before, and without. */
  async function revokedAt(server: Envoy): Promise<{ before: Knock; resumed: Knock }> {
    const port = await server.port('mtls');
    await using victim = new WorkloadClient(agent.socket);
    const thief = await StolenIdentity.of(victim);
    const before = await thief.knock(port, 'TLSv1.3');
    victim.kill();
    await eventually('it is refused without its session', async () =>
      (await thief.knock(port, 'TLSv1.3')).status === undefined ? true : undefined,
    );
    return { before, resumed: await thief.knock(port, 'TLSv1.3', before.session) };
  }

  it(
    'a revoked client resumes its session where ticket keys are configured',
    evidence(
      quirk(
        envoyProxy,
        'With `session_ticket_keys` of its own it lets a client resume its session that was revoked meanwhile. Leave them out.',
      ),
    ),
    async () => {
      await using server = await serverWith('ROOTCA', OWN_KEYS);
      const { before, resumed } = await revokedAt(server);
      expect(before).toMatchObject({ status: 200, resumed: false });
      expect(resumed).toMatchObject({ status: 200, resumed: true });
    },
  );

  it('and has none to resume where resumption is off instead', async () => {
    await using server = await serverWith('ROOTCA', NO_TICKETS);
    const { before, resumed } = await revokedAt(server);
    expect(before).toMatchObject({ status: 200, session: undefined });
    expect(resumed).toMatchObject({ status: undefined });
  });

  it(
    'everybody is let in where a certificate is asked for as the keys of peers',
    evidence(
      quirk(
        envoyProxy,
        'Configured with the name of a certificate where the keys of peers belong (`validation_context_sds_secret_config`), it lets everybody in.',
      ),
    ),
    async () => {
      await using server = await serverWith('default');
      await using stranger = await Agent.start([entry('own')]);
      await using workload = new WorkloadClient(stranger.socket);
      const thief = await StolenIdentity.of(workload);
      expect(await thief.knock(await server.port('mtls'), 'TLSv1.3')).toMatchObject({ status: 200 });
      expect(server.log).not.toContain('rejected');

      await using right = await serverWith('ROOTCA');
      expect(await thief.knock(await right.port('mtls'), 'TLSv1.3')).toMatchObject({ status: undefined });
    },
  );
});
