import { expect, inject, it, vi } from 'vitest';
import { Agent, entry, TRUST_DOMAIN } from './agent.ts';
import { Client } from './client.ts';
import { goSpiffe } from './consumers.ts';
import { equipped } from './equipment.ts';
import { cell, evidence, quirk } from './evidence/evidence.ts';
import { idOf, RECOVERY } from './watching.ts';

const { go } = inject('equipment');
const WIT = evidence(cell(goSpiffe, 'wit'));

equipped('WIT-SVIDs of go-spiffe', [go], () => {
  it('are there for each identity, each with its key, and verified by the bundle', WIT, async () => {
    await using agent = await Agent.start([entry('first', { hint: 'internal' }), entry('second')]);
    await using workload = Client.start(go, agent.socket);
    await workload.ask('witSource');
    const first = await workload.ask('wit', { subject: idOf('first') });
    expect(first).toMatchObject({ id: idOf('first'), hint: 'internal' });
    expect(first.expiry * 1000).toBeGreaterThan(Date.now());
    const second = await workload.ask('wit', { subject: idOf('second') });
    expect(second).toMatchObject({ id: idOf('second'), hint: '' });
    expect((await workload.ask('fetchWit')).id).toBe(idOf('first'));
    expect((await workload.ask('fetchWit', { subject: idOf('second') })).id).toBe(idOf('second'));
    await expect(workload.ask('fetchWit', { subject: idOf('another') })).rejects.toThrow('code = PermissionDenied');
  });

  it('follow each rotation at a lifetime of 10 s, and a restart of the agent', WIT, async () => {
    await using agent = await Agent.start([entry('brief', { wit_svid_ttl: '10s' })]);
    await using workload = Client.start(go, agent.socket);
    await workload.ask('witSource');
    const tokens = new Set<string>();
    for (const count of [1, 2, 3]) {
      if (count === 3) {
        await agent.end('SIGKILL');
        await agent.start();
      }
      await vi.waitFor(async () => {
        const { token } = await workload.ask('wit', { subject: idOf('brief') });
        expect(tokens.add(token).size).toBe(count);
      }, RECOVERY);
    }
  });

  const KEEPS = 'Told that its entry is withdrawn, a `WITSource` keeps its last WIT-SVIDs, as an `X509Source` does.';
  it(
    'stay in the source when the entry is withdrawn, and are not given out',
    evidence(quirk(goSpiffe, KEEPS)),
    async () => {
      await using agent = await Agent.start([entry('first')]);
      await using workload = Client.start(go, agent.socket);
      await workload.ask('witSource');
      const held = await workload.ask('wit', { subject: idOf('first') });
      agent.setEntries([]);
      await vi.waitFor(
        () => expect(workload.ask('fetchWit')).rejects.toThrow('code = PermissionDenied desc = no identity issued'),
        RECOVERY,
      );
      expect(await workload.ask('wit', { subject: idOf('first') })).toEqual(held);
    },
  );

  const OFF =
    'With `wit: { enabled: false }` opening a `WITSource` fails with `Unimplemented`, and is not tried again.';
  it('are refused where they are switched off, and the rest is not', evidence(quirk(goSpiffe, OFF)), async () => {
    await using agent = await Agent.start([entry('first')], 'wit: { enabled: false }');
    await using workload = Client.start(go, agent.socket);
    await expect(workload.ask('witSource')).rejects.toThrow('code = Unimplemented');
    await workload.ask('watch');
    expect((await workload.ask('source')).id).toBe(`spiffe://${TRUST_DOMAIN}/first`);
  });
});
