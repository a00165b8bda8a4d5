import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { AuthorityRewriter } from '../../../../agent/peer/http2/authority-rewriter.ts';
import { joinThroughRewriter } from '../../../../agent/peer/http2/rewritten-connection.ts';
import { DATA, frameOf, PREFACE } from '../../../support/http2-client.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { socketPair } from '../../../support/socket-pair.ts';

const sockets: Socket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** A peer, joined to a server's end: what one writes the other reads. */
function join() {
  const clock = new ManualClock();
  const [peer, client] = socketPair();
  const [near, far] = socketPair();
  sockets.push(peer, client, near, far);
  for (const end of [peer, client, far]) end.on('error', () => undefined);
  for (const end of [peer, far]) end.allowHalfOpen = true;
  client.pause();
  joinThroughRewriter(client, [near, far], new AuthorityRewriter(16_384, false), Buffer.alloc(0), clock);
  return { clock, peer, client, near, far };
}

async function text(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const closed = (socket: Socket) => expect.poll(() => socket.closed, { interval: 2 }).toBe(true);

describe('a joined connection', () => {
  it('tells the end of each half after all that came before it, and then closes both', async () => {
    const { peer, client, near, far, clock } = join();
    const request = frameOf(DATA, 0, 1, Buffer.alloc(10_000, 1));
    const asked = text(far);
    peer.end(Buffer.concat(Array.from({ length: 100 }, () => request)));
    expect(await asked).toEqual(Buffer.concat([PREFACE, ...Array.from({ length: 100 }, () => request)]));
    expect(client.closed).toBe(false);

    const answered = text(peer);
    far.end(Buffer.alloc(1_000_000, 2));
    expect(await answered).toEqual(Buffer.alloc(1_000_000, 2));
    await closed(client);
    await closed(near);
    expect(clock.alarms).toBe(0);
  });

  it('reads the client no faster than the server takes it', async () => {
    const { peer, client, near, far } = join();
    const body = Buffer.alloc(4_000_000).fill(frameOf(DATA, 0, 1, Buffer.alloc(15_991)));
    peer.write(body);
    await expect.poll(() => client.isPaused(), { interval: 2 }).toBe(true);
    expect(near.writableLength).toBeLessThan(200_000);
    peer.end();
    expect(await text(far)).toEqual(Buffer.concat([PREFACE, body]));
  });

  it('reads the server no faster than the client takes it', async () => {
    const { peer, client, near, far } = join();
    far.resume();
    far.write(Buffer.alloc(4_000_000, 2));
    await expect.poll(() => near.isPaused(), { interval: 2 }).toBe(true);
    expect(client.writableLength).toBeLessThan(200_000);
    const answered = text(peer);
    far.end();
    expect(await answered).toHaveLength(4_000_000);
  });

  it('closes the server when the client breaks', async () => {
    const { client, near, far } = join();
    client.destroy(new Error('broken'));
    far.resume();
    await closed(near);
    await expect.poll(() => far.readableEnded, { interval: 2 }).toBe(true);
  });

  it('gives a client that does not read five seconds for what the server said last', async () => {
    const { clock, client, near, far } = join();
    far.write(Buffer.alloc(2_000_000, 2));
    // The near end is not read any more, and does not learn that the far one closes.
    await expect.poll(() => near.isPaused(), { interval: 2 }).toBe(true);
    far.destroy();
    await expect.poll(() => clock.alarms, { interval: 2 }).toBe(1);
    expect(near.closed).toBe(false);
    expect(client.writableLength).toBeGreaterThan(0);
    await clock.elapse(4999);
    expect(client.destroyed).toBe(false);
    await clock.elapse(1);
    expect(client.destroyed).toBe(true);
    await closed(near);
    expect(clock.alarms).toBe(0);
  });
});
