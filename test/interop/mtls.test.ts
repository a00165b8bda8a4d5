import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { Agent, entry, TRUST_DOMAIN } from './agent.ts';
import { Client } from './client.ts';
import { equipped, ROOT } from './equipment.ts';

const { go } = inject('equipment');

// They need not exist: processes are told apart by number.
const SERVER = { uid: 64_101, gid: 64_101 };
const CLIENT = { uid: 64_102, gid: 64_102 };
const STRANGER = { uid: 64_103, gid: 64_103 };
const idOf = (name: string) => `spiffe://${TRUST_DOMAIN}/${name}`;

equipped('mTLS between processes of different users', [go, ROOT], () => {
  let agent: Agent;
  let server: Client;
  let address: string;

  async function workload(ids: { uid: number; gid: number }): Promise<Client> {
    const client = Client.start(go, agent.socket, ids);
    await client.ask('watch');
    return client;
  }

  beforeAll(async () => {
    agent = await Agent.start([
      entry('server', {}, SERVER.uid),
      entry('client', {}, CLIENT.uid),
      entry('other', {}, CLIENT.uid),
      entry('stranger', {}, STRANGER.uid),
    ]);
    server = await workload(SERVER);
    address = await server.ask('listen', { expect: idOf('client') });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
  });

  it('gives each process the identities of its user alone', async () => {
    await using client = await workload(CLIENT);
    expect((await server.update(0)).svids.map(({ id }) => id)).toEqual([idOf('server')]);
    expect((await client.update(0)).svids.map(({ id }) => id)).toEqual([idOf('client'), idOf('other')]);
  });

  it('lets each end see who the other is', async () => {
    await using client = await workload(CLIENT);
    const before = server.of('accepted').length;
    expect(await client.ask('dial', { address, expect: idOf('server') })).toEqual({
      peer: idOf('server'),
      us: idOf('client'),
    });
    expect((await server.event('accepted', before)).value).toBe(idOf('client'));
    expect(server.of('accepted')).toHaveLength(before + 1);
  });

  it('is refused by a client that expects another server', async () => {
    await using client = await workload(CLIENT);
    const before = { accepted: server.of('accepted').length, refused: server.of('refused').length };
    await expect(client.ask('dial', { address, expect: idOf('payments') })).rejects.toThrow(
      `unexpected ID "${idOf('server')}"`,
    );
    expect((await server.event('refused', before.refused)).value).toContain('bad certificate');
    expect(server.of('accepted')).toHaveLength(before.accepted);
  });

  it('is refused by a server that expects another client', async () => {
    await using stranger = await workload(STRANGER);
    const before = { accepted: server.of('accepted').length, refused: server.of('refused').length };
    await expect(stranger.ask('dial', { address, expect: idOf('server') })).rejects.toThrow('bad certificate');
    expect((await server.event('refused', before.refused)).value).toContain(`unexpected ID "${idOf('stranger')}"`);
    expect(server.of('accepted')).toHaveLength(before.accepted);
  });
});
