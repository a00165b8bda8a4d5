import { fromBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ServerReflection } from '../../../agent/gen/reflection_v1_pb.js';
import { SpiffeWorkloadAPI, X509SVIDResponseSchema } from '../../../agent/gen/workload_pb.js';
import { HeldProcess } from '../../../agent/peer/held-process.ts';
import type { ApiWorld } from '../../support/api-world.ts';
import { apiWorld, ownEntry } from '../../support/api-world.ts';
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  frameOf,
  GOAWAY,
  HEADERS,
  Http2Client,
  PREFACE,
  requestFields,
  SETTINGS_FRAME,
  WINDOW_UPDATE,
} from '../../support/http2-client.ts';
import { until } from '../../support/processes.ts';

const { fetchX509SVID, fetchX509Bundles, fetchJWTBundles, fetchJWTSVID } = SpiffeWorkloadAPI.method;
const NO_IDENTITY = { code: 'PERMISSION_DENIED', details: 'no identity issued' };
const STOPPING = { code: 'UNAVAILABLE', details: 'the agent is stopping' };

let world: ApiWorld;
/** How many X.509 messages the handler was asked for by the stream that carries them. */
let taken: number;
beforeEach(async () => {
  taken = 0;
  world = await apiWorld([ownEntry('web')], {
    around: (handlers) => ({
      ...handlers,
      async *fetchX509SVID(request, call) {
        for await (const message of handlers.fetchX509SVID(request, call)) {
          taken += 1;
          yield message;
        }
      },
    }),
  });
});
afterEach(async () => {
  expect(world.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  await world.close();
  expect(world.clock.alarms).toBe(0);
});

/** The process of the tests, as the agent holds it. */
function ownProcess(): HeldProcess {
  const instance = [...world.leases][0]?.instance;
  if (!(instance instanceof HeldProcess)) throw new Error('no process is held');
  return instance;
}

/** Opens a stream of X.509-SVIDs by hand: nothing is read from it beyond the first window of 64 KiB. */
async function openByHand(): Promise<Http2Client> {
  const client = await Http2Client.open(world.path);
  const fields = [
    ...requestFields('/SpiffeWorkloadAPI/FetchX509SVID', 'localhost'),
    { name: 'workload.spiffe.io', value: 'true', as: 'plain', nameByIndex: false, huffman: false } as const,
  ];
  client.send(PREFACE, SETTINGS_FRAME, frameOf(HEADERS, END_HEADERS, 1, client.encoder.block(fields)));
  client.send(frameOf(DATA, END_STREAM, 1, Buffer.alloc(5)));
  await client.frame(({ type, stream }) => type === DATA && stream === 1);
  return client;
}

function received(client: Http2Client): Buffer {
  return Buffer.concat(
    client.frames.filter(({ type, stream }) => type === DATA && stream === 1).map(({ payload }) => payload),
  );
}

/** The whole messages of a stream. */
function messages(bytes: Buffer) {
  const found = [];
  for (let at = 0; at + 5 <= bytes.length && at + 5 + bytes.readUInt32BE(at + 1) <= bytes.length; ) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    found.push(fromBinary(X509SVIDResponseSchema, bytes.subarray(at + 5, end)));
    at = end;
  }
  return found;
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

describe('a process that ends', () => {
  it.each(['exited', 'executed', 'changed-ids', 'changed-cgroup', 'changed-namespace'] as const)(
    '(%s) ends all its streams with the text that clients match on',
    async (how) => {
      const streams = [
        world.client.stream(fetchX509SVID, {}),
        world.client.stream(fetchX509Bundles, {}),
        world.client.stream(fetchJWTBundles, {}),
        world.connect().stream(fetchX509SVID, {}),
      ];
      await Promise.all(streams.map((stream) => stream.at(1)));
      const key = [...world.leases][0]?.x509.current?.privateKey;
      ownProcess().finish(how);
      expect(await Promise.all(streams.map((stream) => stream.ended))).toEqual(streams.map(() => NO_IDENTITY));
      expect(key?.destroyed).toBe(true);
      expect(world.leases.workloads).toBe(0);
      // What comes later on the same connection is refused by its caller.
      expect(await world.client.told(fetchJWTSVID, { audience: ['a'] })).toEqual(NO_IDENTITY);
      // And after a second of grace the connection is cut.
      await world.clock.elapse(1000);
      await until(() => world.listener.connections === 0, 'its connections are gone');
    },
  );

  it('ends a stream that was just being opened, whichever it is', async () => {
    await world.client.call(fetchJWTSVID, { audience: ['a'] });
    world.fault.attestation = 'hangs';
    await world.clock.elapse(2000);
    const streams = [fetchX509SVID, fetchX509Bundles, fetchJWTBundles].map((method) => world.client.stream(method, {}));
    await until(() => world.server.calls === 3, 'they are under way');
    const held = ownProcess();
    held.finish('exited');
    world.fault.attestationGoesOn.resolve();
    expect(await Promise.all(streams.map((stream) => stream.ended))).toEqual(streams.map(() => NO_IDENTITY));
    await until(() => world.server.calls === 0, 'no call is left');
    expect(world.issuer.counts.x509).toBe(0);
  });
});

describe('an agent that stops', () => {
  it('ends streams and calls with UNAVAILABLE, says GOAWAY, closes connections, and refuses what comes', async () => {
    const streams = [fetchX509SVID, fetchX509Bundles, fetchJWTBundles].map((method) => world.client.stream(method, {}));
    const duplex = world.client.duplex(ServerReflection.method.serverReflectionInfo);
    await Promise.all(streams.map((stream) => stream.at(1)));
    await until(() => world.server.calls === 4, 'all are under way');
    const byHand = await openByHand();
    const drained = world.server.drain(5000);
    expect(world.server.calls).toBe(0);
    expect(await world.client.told(fetchJWTSVID, { audience: ['a'] })).toMatchObject({ code: 'UNAVAILABLE' });
    expect(await Promise.all(streams.map((stream) => stream.ended))).toEqual(streams.map(() => STOPPING));
    expect(await duplex.ended).toEqual(STOPPING);
    await byHand.untilClosed();
    byHand.socket.destroy();
    const [end, goaway] = [HEADERS, GOAWAY].map((type) => byHand.frames.findLastIndex((frame) => frame.type === type));
    expect(end).toBeLessThan(goaway ?? 0);
    expect(byHand.frames[goaway ?? 0]?.payload.readUInt32BE(4)).toBe(0);
    await drained;
    expect(world.listener.connections).toBe(0);
    await world.server.drain(0);
  });

  it('does not wait for an attestor that hangs', async () => {
    world.fault.attestation = 'hangs';
    const told = world.client.told(fetchJWTSVID, { audience: ['a'] });
    const stream = world.client.stream(fetchX509SVID, {});
    await until(() => world.server.calls === 2, 'both are under way');
    const drained = world.server.drain(5000);
    expect(await told).toEqual(STOPPING);
    expect(await stream.ended).toEqual(STOPPING);
    await drained;
    await world.clock.elapse(5000);
    expect(world.issuer.counts).toMatchObject({ x509: 0, jwt: 0 });
  });

  it('cuts a client that does not close its side', async () => {
    const byHand = await openByHand();
    const before = performance.now();
    await world.server.drain(100);
    expect(performance.now() - before).toBeLessThan(1000);
    expect(world.listener.connections).toBe(0);
    byHand.socket.destroy();
  });
});

describe('a client that never reads its stream', () => {
  it('holds one pending update, gets the newest when it reads, and the others notice nothing', async () => {
    const byHand = await openByHand();
    const reader = world.client.stream(fetchX509SVID, {});
    await reader.at(1);
    for (let change = 1; change <= 1000; change += 1) {
      world.replaceEntries([ownEntry('web', { hint: `h${change}` })]);
      await turn();
    }
    await until(() => reader.received.at(-1)?.svids[0]?.hint === 'h1000', 'the reader has the newest');
    // Both handlers together: the reader got its own, the other one stopped when its window was full.
    const whole = messages(received(byHand));
    const takenByHand = taken - reader.received.length;
    expect(received(byHand).length).toBeLessThanOrEqual(65_535);
    expect(whole.length).toBeGreaterThan(10);
    expect(takenByHand).toBeLessThanOrEqual(whole.length + 1);
    expect(takenByHand).toBeLessThan(100);
    // It opens its windows, and needs no more than the pending one to come to the newest.
    const window = Buffer.alloc(4);
    window.writeUInt32BE(2 ** 20);
    byHand.send(frameOf(WINDOW_UPDATE, 0, 0, window), frameOf(WINDOW_UPDATE, 0, 1, window));
    await byHand.until(() => messages(received(byHand)).at(-1)?.svids[0]?.hint === 'h1000');
    expect(messages(received(byHand)).length).toBeLessThanOrEqual(whole.length + 3);
    byHand.socket.destroy();
  });

  it('does not hold up the end', async () => {
    const byHand = await openByHand();
    for (let change = 1; change <= 100; change += 1) {
      world.replaceEntries([ownEntry('web', { hint: `h${change}` })]);
      await turn();
    }
    const before = performance.now();
    const drained = world.server.drain(200);
    expect(world.server.calls).toBe(0);
    await drained;
    expect(performance.now() - before).toBeLessThan(1000);
    expect(world.listener.connections).toBe(0);
    byHand.socket.destroy();
  });
});
