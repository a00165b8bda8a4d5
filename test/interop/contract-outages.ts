import { expect, it, vi } from 'vitest';
import { Agent, entry, TRUST_DOMAIN } from './agent.ts';
import { serialOf } from './certificates.ts';
import type { Identity } from './client.ts';
import { Client } from './client.ts';
import type { Equipment } from './equipment.ts';
import type { Consumer } from './evidence/evidence.ts';
import { cell, duration, evidence, quirk } from './evidence/evidence.ts';
import type { Traits } from './traits.ts';
import { idOf, idsOf, RECOVERY, watching } from './watching.ts';

/** The agent is away. */
export function theOutages(consumer: Consumer<'libraries'>, client: Equipment, traits: Traits): void {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const name = `recovers by itself when the agent ends by ${signal} and comes back`;
    it(name, evidence(duration(consumer, 'restart')), async ({ task }) => {
      await using world = await watching(client, [entry('first')]);
      const { agent, workload } = world;
      const before = await workload.update(0);
      const bundle = await workload.ask('bundle', { trustDomain: TRUST_DOMAIN });

      expect(await agent.end(signal)).toBe(signal === 'SIGTERM' ? 0 : 'SIGKILL');
      expect(serialOf(await workload.ask('source'))).toBe(serialOf(before.svids[0] as Identity));
      await agent.start();
      const back = performance.now();

      await vi.waitFor(async () => {
        expect(serialOf(await workload.ask('source'))).not.toBe(serialOf(before.svids[0] as Identity));
      }, RECOVERY);
      task.meta.tookMs = performance.now() - back;
      const after = await workload.update(1);
      expect(idsOf(after)).toEqual([idOf('first')]);
      expect(serialOf(await workload.ask('source'))).toBe(serialOf(after.svids[0] as Identity));
      expect(after.bundles).toEqual(before.bundles);
      const token = await workload.ask('jwt', { audience: ['anyone'] });
      expect((await workload.ask('verify', { token: token.token, audience: ['anyone'] })).id).toBe(idOf('first'));
      expect(await workload.ask('bundle', { trustDomain: TRUST_DOMAIN })).toEqual(bundle);
      expect(workload.of('ended')).toEqual([]);
    });
  }

  const STOPPED = 'does with what it holds while the agent is stopped, and says that it is';
  it(STOPPED, evidence(cell(consumer, 'stopped', 'goes on with what it has')), async () => {
    await using world = await watching(client, [entry('first')]);
    const { agent, workload } = world;
    const held = await workload.ask('source');
    const { token } = await workload.ask('jwt', { audience: ['anyone'] });
    const asked = { token, audience: ['anyone'] };
    const address = await workload.ask('listen', { expect: idOf('first') });
    await agent.end('SIGTERM');

    await expect(workload.ask('fetch')).rejects.toThrow(traits.unreachable);
    await expect(workload.ask('jwt', { audience: ['anyone'] })).rejects.toThrow(traits.unreachable);
    await expect(workload.ask('validate', asked)).rejects.toThrow(traits.unreachable);
    expect(await workload.ask('source')).toEqual(held);
    expect((await workload.ask('verify', asked)).id).toBe(idOf('first'));
    const { peer, us, tls } = await workload.ask('open', { address, expect: idOf('first') });
    expect([peer.leaf, us.leaf]).toEqual([held.chain[0], held.chain[0]]);
    expect(tls).toMatch(/1\.3$/);
    expect(workload.of('ended')).toEqual([]);
  });

  it('is started before the agent', earlyEvidence(consumer, traits), async () => {
    await using agent = await Agent.start([entry('first')]);
    await agent.end('SIGTERM');
    await using workload = Client.start(client, agent.socket);
    const watched = workload.ask('watch');
    if (traits.early === 'waits') {
      // The agent takes longer to start than a source takes to find that nobody is there.
      await workload.event('opening', 0);
      await agent.start();
      await watched;
      expect(idsOf(await workload.update(0))).toEqual([idOf('first')]);
    } else {
      await expect(watched).rejects.toThrow(traits.early);
    }
  });
}

function earlyEvidence(consumer: Consumer<'libraries'>, { early }: Traits) {
  return early === 'waits'
    ? evidence(cell(consumer, 'late'))
    : evidence(
        cell(consumer, 'late', 'no'),
        quirk(consumer, 'Fails at once when the socket is missing at its start: start the agent first, or try again.'),
      );
}
