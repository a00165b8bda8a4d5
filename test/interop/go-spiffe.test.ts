import { expect, inject, it, vi } from 'vitest';
import { Agent, entry, FEDERATED_DOMAIN, TRUST_DOMAIN } from './agent.ts';
import { Client } from './client.ts';
import { goSpiffe } from './consumers.ts';
import { workloadContract } from './contract.ts';
import { equipped } from './equipment.ts';
import { cell, evidence, quirk } from './evidence/evidence.ts';

const { go } = inject('equipment');

workloadContract(goSpiffe, go, {
  hints: true,
  denied: /code = PermissionDenied desc = no identity issued/,
  wrongAudience: /expected audience in \["web"\]/,
  wrongSignature: /cryptographic primitive/,
  unreachable: /code = (Unavailable|DeadlineExceeded)/,
  withdrawn: 'keeps',
  early: 'waits',
});

equipped('the watchers of go-spiffe', [go], () => {
  it(
    'of bundles are told of a foreign trust domain, and of a key that goes',
    evidence(cell(goSpiffe, 'bundles')),
    async () => {
      await using agent = await Agent.start([entry('first')]);
      await using workload = Client.start(go, agent.socket);
      await workload.ask('watch');
      const own = await workload.ask('bundle', { trustDomain: TRUST_DOMAIN });
      expect((await workload.event('x509Bundles', 0)).value).toEqual({ [TRUST_DOMAIN]: own.x509 });
      expect((await workload.event('jwtBundles', 0)).value).toEqual({ [TRUST_DOMAIN]: own.jwt });

      agent.setEntries([entry('first', { federates_with: [FEDERATED_DOMAIN] })]);
      const both = { [TRUST_DOMAIN]: own.jwt, [FEDERATED_DOMAIN]: ['ec', 'rsa'] };
      expect((await workload.event('jwtBundles', 1)).value).toEqual(both);
      // The sources are on connections of their own.
      const federated = await vi.waitFor(() => workload.ask('bundle', { trustDomain: FEDERATED_DOMAIN }), {
        timeout: 10_000,
      });
      const roots = { [TRUST_DOMAIN]: own.x509, [FEDERATED_DOMAIN]: federated.x509 };
      expect((await workload.event('x509Bundles', 1)).value).toEqual(roots);

      agent.setFederatedKeys(['ec']);
      expect((await workload.event('jwtBundles', 2)).value).toEqual({ ...both, [FEDERATED_DOMAIN]: ['ec'] });
      expect(workload.of('ended')).toEqual([]);
    },
  );

  const AGAIN =
    'Its watchers are called at every message of the agent, also when nothing but a revocation list has changed: compare before you reload what is costly.';
  it('are told again when another process has ended', evidence(quirk(goSpiffe, AGAIN)), async () => {
    await using agent = await Agent.start([entry('first')]);
    await using workload = Client.start(go, agent.socket);
    await workload.ask('watch');
    await workload.event('update', 0);
    await using neighbour = Client.start(go, agent.socket);
    await neighbour.ask('fetch');
    await neighbour[Symbol.asyncDispose]();
    const told = () => workload.events.filter(({ name }) => name === 'update').length;
    await vi.waitFor(() => expect(told()).toBeGreaterThan(1), { timeout: 10_000 });
    expect(workload.of('update')).toHaveLength(1);
  });
});
