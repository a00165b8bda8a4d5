import { expect, it, vi } from 'vitest';
import { entry, FEDERATED_DOMAIN, TRUST_DOMAIN } from './agent.ts';
import { keyOf, leadsTo, leafOf, serialOf } from './certificates.ts';
import type { Identity, Update } from './client.ts';
import type { Equipment } from './equipment.ts';
import type { Consumer } from './evidence/evidence.ts';
import { cell, evidence, quirk } from './evidence/evidence.ts';
import type { Traits } from './traits.ts';
import { hintsOf, idOf, idsOf, RECOVERY, watching } from './watching.ts';

/** The agent has something new to say. */
export function theChanges(consumer: Consumer<'libraries'>, client: Equipment, traits: Traits): void {
  it('sees a new hint, a new bundle and a new entry', evidence(cell(consumer, 'updates')), async () => {
    await using world = await watching(client, [entry('first', { hint: 'internal' })]);
    const { agent, workload } = world;
    const [first] = (await workload.update(0)).svids as [Identity];
    expect(hintsOf(await workload.update(0))).toEqual(traits.hints ? ['internal'] : [undefined]);
    expect(Object.keys((await workload.update(0)).bundles)).toEqual([TRUST_DOMAIN]);

    // To a client that shows no hints nothing has changed.
    let seen = 1;
    if (traits.hints) {
      agent.setEntries([entry('first', { hint: 'public' })]);
      const hinted = await workload.update(seen++);
      expect(hintsOf(hinted)).toEqual(['public']);
      expect(hinted.svids.map(serialOf)).toEqual([serialOf(first)]);
    }

    const federating = entry('first', { hint: 'public', federates_with: [FEDERATED_DOMAIN] });
    agent.setEntries([federating]);
    const federated = await workload.update(seen++);
    expect(Object.keys(federated.bundles).toSorted()).toEqual([TRUST_DOMAIN, FEDERATED_DOMAIN]);
    expect(federated.svids.map(serialOf)).toEqual([serialOf(first)]);

    agent.setEntries([federating, entry('second')]);
    const both = await workload.update(seen++);
    expect(idsOf(both)).toEqual([idOf('first'), idOf('second')]);
    expect(both.svids.map(serialOf)[0]).toBe(serialOf(first));
    const second = both.svids[1] as Identity;
    expect(keyOf(second)).not.toBe(keyOf(first));

    agent.setEntries([entry('second')]);
    const left = await workload.update(seen++);
    expect(idsOf(left)).toEqual([idOf('second')]);
    expect(left.svids.map(serialOf)).toEqual([serialOf(second)]);
    await vi.waitFor(async () => expect((await workload.ask('source')).id).toBe(idOf('second')), RECOVERY);
    // Nothing of it was told twice, and the watcher has never given up.
    expect(workload.of('update')).toHaveLength(seen);
    expect(workload.of('ended')).toEqual([]);
  });

  it('sees a key of a foreign trust domain go', evidence(cell(consumer, 'bundles')), async () => {
    await using world = await watching(client, [entry('first', { federates_with: [FEDERATED_DOMAIN] })]);
    const { agent, workload } = world;
    const before = await workload.ask('bundle', { trustDomain: FEDERATED_DOMAIN });
    expect(before.jwt).toEqual(['ec', 'rsa']);
    agent.setFederatedKeys(['ec']);
    await vi.waitFor(async () => {
      const after = await workload.ask('bundle', { trustDomain: FEDERATED_DOMAIN });
      expect(after).toEqual({ x509: before.x509, jwt: ['ec'] });
    }, RECOVERY);
  });

  it('is told of a withdrawal, and of a return', withdrawalEvidence(consumer, traits), async () => {
    await using world = await watching(client, [entry('first')]);
    const { agent, workload } = world;
    const [first] = (await workload.update(0)).svids as [Identity];

    agent.setEntries([]);
    await vi.waitFor(() => expect(workload.ask('fetch')).rejects.toThrow(traits.denied), RECOVERY);
    await expect(workload.ask('jwt', { audience: ['anyone'] })).rejects.toThrow(traits.denied);
    const { withdrawn } = traits;
    if (withdrawn === 'keeps') {
      expect(serialOf(await workload.ask('source'))).toBe(serialOf(first));
    } else {
      await vi.waitFor(() => expect(workload.ask('source')).rejects.toThrow(withdrawn), RECOVERY);
    }

    agent.setEntries([entry('first')]);
    const returned = await workload.update(1);
    expect(idsOf(returned)).toEqual([idOf('first')]);
    expect(returned.svids.map(serialOf)).not.toEqual([serialOf(first)]);
    await vi.waitFor(async () => {
      expect(serialOf(await workload.ask('source'))).toBe(serialOf(returned.svids[0] as Identity));
    }, RECOVERY);
    expect(workload.of('update')).toHaveLength(2);
    expect(workload.of('ended')).toEqual([]);
  });

  const ROTATION = 'sees each rotation at a lifetime of 10 s, well before the last certificate ends';
  it(ROTATION, evidence(cell(consumer, 'rotation')), async () => {
    await using world = await watching(client, [entry('brief', { x509_svid_ttl: '10s' })]);
    const { workload } = world;
    const told: { value: Update; at: number }[] = [];
    for (const index of [0, 1, 2]) {
      told.push({ value: await workload.update(index), at: (await workload.event('update', index)).at });
    }

    const identities = told.map(({ value }) => value.svids[0] as Identity);
    expect(new Set(identities.map(serialOf)).size).toBe(3);
    expect(new Set(identities.map(keyOf)).size).toBe(3);
    for (const [index, { at }] of told.entries()) {
      const before = identities[index - 1];
      // It is renewed with 45 to 55 % left.
      if (before !== undefined) expect(leafOf(before).validToDate.getTime() - at).toBeGreaterThan(2500);
      expect(leadsTo(identities[index] as Identity, told[index]?.value.bundles[TRUST_DOMAIN] ?? [])).toBe(true);
    }
    await vi.waitFor(async () => {
      expect(serialOf(await workload.ask('source'))).toBe(serialOf(identities[2] as Identity));
    }, RECOVERY);
    expect(workload.of('error')).toEqual([]);
  });
}

function withdrawalEvidence(consumer: Consumer<'libraries'>, { withdrawn }: Traits) {
  const says =
    withdrawn === 'keeps'
      ? 'Told that its entry is withdrawn, a source keeps its last certificate, and uses it until it expires. Questions are refused at once.'
      : 'Told that its entry is withdrawn, a source drops its certificate at once.';
  return evidence(
    cell(consumer, 'withdrawal', withdrawn === 'keeps' ? 'keeps what it has' : 'drops what it has'),
    quirk(consumer, says),
  );
}
