import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Agent, entry, TRUST_DOMAIN } from './agent.ts';
import type { Meeting } from './client.ts';
import { equipped } from './equipment.ts';
import { cell, evidence } from './evidence/evidence.ts';
import { LIBRARIES, type Library, leavesOf, Processes } from './libraries.ts';

// All are one user's: each has the id, and a certificate that no other has.
const ID = `spiffe://${TRUST_DOMAIN}/service`;
const ANOTHER = `spiffe://${TRUST_DOMAIN}/another`;
const ROTATION = { timeout: 20_000, interval: 100 };
const READY = LIBRARIES.filter(({ program }) => program.kind === 'ready');
const PAIRS = LIBRARIES.flatMap((client) => LIBRARIES.map((server) => ({ client, server })));

describe('mTLS from every library to every other', () => {
  let agent: Agent;
  let clients: Processes;
  let servers: Processes;
  const addresses = new Map<Library, { own: string; picky: string }>();
  const meetings = new Map<string, Meeting>();

  beforeAll(async () => {
    agent = await Agent.start([entry('service', { x509_svid_ttl: '10s' })]);
    [clients, servers] = await Promise.all([Processes.start(agent, READY), Processes.start(agent, READY)]);
    for (const library of READY) {
      const server = servers.of(library);
      const own = await server.ask('listen', { expect: ID });
      addresses.set(library, { own, picky: await server.ask('listen', { expect: ANOTHER }) });
    }
  });
  afterAll(async () => {
    await clients[Symbol.asyncDispose]();
    await servers[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
  });

  const addressOf = (library: Library) => addresses.get(library)?.own ?? '';
  const pickyAddressOf = (library: Library) => addresses.get(library)?.picky ?? '';

  for (const { client, server } of PAIRS) {
    const name = `${client.consumer.name} to ${server.consumer.name}`;
    equipped(name, [client.program, server.program], () => {
      const seen = evidence(cell(client.consumer, 'client'), cell(server.consumer, 'server'));
      it('is made, and each end sees the certificate of the other', seen, async () => {
        const [dialling, listening] = [clients.of(client), servers.of(server)];
        const before = listening.of('accepted').length;
        const meeting = await dialling.ask('open', { address: addressOf(server), expect: ID });
        expect([meeting.peer.id, meeting.us.id]).toEqual([ID, ID]);
        expect((await listening.event('accepted', before)).value).toBe(ID);
        await vi.waitFor(() => expect(leavesOf(listening)).toContain(meeting.peer.leaf), ROTATION);
        await vi.waitFor(() => expect(leavesOf(dialling)).toContain(meeting.us.leaf), ROTATION);
        meetings.set(name, meeting);
      });

      const refusals = [
        { by: 'a client that expects another server', address: () => addressOf(server), expect: ANOTHER },
        { by: 'a server that expects another client', address: () => pickyAddressOf(server), expect: ID },
      ];
      for (const { by, address, expect: expected } of refusals) {
        it(`is refused by ${by}`, seen, async () => {
          const [dialling, listening] = [clients.of(client), servers.of(server)];
          const before = { accepted: listening.of('accepted').length, refused: listening.of('refused').length };
          await expect(dialling.ask('dial', { address: address(), expect: expected })).rejects.toThrow();
          await listening.event('refused', before.refused);
          expect(listening.of('accepted')).toHaveLength(before.accepted);
        });
      }
    });
  }

  for (const { client, server } of PAIRS) {
    const name = `${client.consumer.name} to ${server.consumer.name}`;
    equipped(`${name}, after a rotation of both,`, [client.program, server.program], () => {
      const seen = evidence(cell(client.consumer, 'connected'), cell(server.consumer, 'connected'));
      it('is still up, and made anew with the new certificates', seen, async () => {
        const [dialling, listening] = [clients.of(client), servers.of(server)];
        const before = meetings.get(name);
        if (before === undefined) return expect.unreachable('it was not made');
        for (const [process, leaf] of [
          [listening, before.peer.leaf],
          [dialling, before.us.leaf],
        ] as const) {
          await vi.waitFor(async () => expect((await process.ask('source')).chain[0]).not.toBe(leaf), ROTATION);
        }
        const word = 'still here';
        expect(await dialling.ask('say', { address: addressOf(server), word })).toBe(word);

        const after = await dialling.ask('open', { address: addressOf(server), expect: ID });
        expect(after.peer.leaf).not.toBe(before.peer.leaf);
        expect(after.us.leaf).not.toBe(before.us.leaf);
        await vi.waitFor(() => expect(leavesOf(listening)).toContain(after.peer.leaf), ROTATION);
        await vi.waitFor(() => expect(leavesOf(dialling)).toContain(after.us.leaf), ROTATION);
      });
    });
  }
});
