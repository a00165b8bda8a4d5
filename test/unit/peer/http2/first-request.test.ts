import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { FirstRequestLimits } from '../../../../agent/peer/http2/first-request.ts';
import { AdaptedServer, LIMITS } from '../../../support/adapted-server.ts';
import {
  ACK,
  CONTINUATION,
  DATA,
  frameOf,
  HEADERS,
  Http2Client,
  PING,
  PREFACE,
  requestFields,
  SETTINGS,
  SETTINGS_ACK,
  SETTINGS_FRAME,
} from '../../../support/http2-client.ts';
import { ManualClock } from '../../../support/manual-clock.ts';

const open: { server?: AdaptedServer; client?: Http2Client } = {};

afterEach(async () => {
  open.client?.socket.destroy();
  await open.server?.[Symbol.asyncDispose]();
  delete open.client;
  delete open.server;
});

/** A server that reads what it is handed, as text of hexadecimal digits, and a client of it with nothing sent. */
async function start({ limits, pair }: { limits?: Partial<FirstRequestLimits>; pair?: () => [Socket, Socket] } = {}) {
  const clock = new ManualClock();
  const read = { hex: '' };
  const inject = (socket: Socket) => {
    socket.on('data', (chunk: Buffer) => {
      read.hex += chunk.toString('hex');
    });
    socket.resume();
  };
  const server = await AdaptedServer.listen({
    clock,
    inject,
    ...(limits === undefined ? {} : { limits }),
    ...(pair === undefined ? {} : { pair }),
  });
  const client = await Http2Client.open(server.path, { acknowledge: false });
  Object.assign(open, { server, client });
  // Our SETTINGS says that the connection was accepted and is being read.
  await client.frame(({ type, flags }) => type === SETTINGS && flags === 0);
  const handed = async (...parts: Buffer[]) => {
    const hex = Buffer.concat(parts).toString('hex');
    await expect.poll(() => read.hex, { interval: 2 }).toBe(hex);
  };
  return { clock, server, client, handed };
}

function request(client: Http2Client, authority: string | undefined = 'localhost'): Buffer {
  return client.request(1, requestFields('/x', authority));
}

describe('a good first request', () => {
  it('hands over the socket as if nobody had read of it, without the acknowledgement', async () => {
    const { server, client, handed, clock } = await start();
    const half = frameOf(DATA, 0, 1, Buffer.from('body')).subarray(0, 11);
    client.send(PREFACE, SETTINGS_FRAME, SETTINGS_ACK, request(client), half);
    expect(await server.outcome(0)).toEqual({ socket: [...server.sockets][0], rewritten: false });
    const first = request(await Http2Client.open(server.path));
    await handed(PREFACE, SETTINGS_FRAME, first, half);
    expect(server.pairs).toHaveLength(0);
    // The second connection waits for its preface; the first left no alarm.
    expect(clock.alarms).toBe(1);
  });

  it.each(['request first', 'acknowledgement first'])('waits for both: %s', async (order) => {
    const { server, client, handed } = await start();
    const sent = request(client);
    const [one, two] = order === 'request first' ? [sent, SETTINGS_ACK] : [SETTINGS_ACK, sent];
    client.send(PREFACE, SETTINGS_FRAME, one, frameOf(PING, 0, 0, Buffer.from('12345678')));
    await client.frame(({ type }) => type === PING);
    expect(server.outcomes).toEqual([undefined]);
    client.send(two);
    expect(await server.outcome(0)).toMatchObject({ rewritten: false });
    await handed(PREFACE, SETTINGS_FRAME, sent);
  });

  it('answers PING and keeps it to itself', async () => {
    const { server, client, handed } = await start();
    const ping = frameOf(PING, 0, 0, Buffer.from('12345678'));
    client.send(PREFACE, ping, SETTINGS_FRAME, ping);
    await client.until(() => client.frames.filter(({ type }) => type === PING).length === 2);
    const pong = client.frames.find(({ type }) => type === PING);
    expect(pong).toEqual({ type: PING, flags: ACK, stream: 0, payload: Buffer.from('12345678') });
    const sent = request(client);
    client.send(SETTINGS_ACK, ping, sent);
    await server.outcome(0);
    await handed(PREFACE, SETTINGS_FRAME, sent);
  });

  it('may come byte by byte', async () => {
    const { server, client, handed } = await start();
    const sent = request(client);
    for (const byte of Buffer.concat([PREFACE, SETTINGS_FRAME, SETTINGS_ACK, sent])) {
      client.socket.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    expect(await server.outcome(0)).toMatchObject({ rewritten: false });
    await handed(PREFACE, SETTINGS_FRAME, sent);
  });
});

describe('the rewriter takes over', () => {
  it('at once when the authority is not legal, and loses the acknowledgement when it comes', async () => {
    const { server, client, handed } = await start();
    client.send(PREFACE, SETTINGS_FRAME, frameOf(HEADERS, 5, 1, Buffer.from([0x81])));
    const outcome = await server.outcome(0);
    expect(outcome).toEqual({ socket: server.pairs[1], rewritten: true });
    const localhost = frameOf(HEADERS, 5, 1, Buffer.from('\x01\x09localhost'));
    await handed(PREFACE, SETTINGS_FRAME, localhost);
    client.send(SETTINGS_ACK, frameOf(PING, 0, 0, Buffer.alloc(8)), SETTINGS_ACK);
    await handed(PREFACE, SETTINGS_FRAME, localhost, frameOf(PING, 0, 0, Buffer.alloc(8)), SETTINGS_ACK);
    expect(client.frames.filter(({ type }) => type === PING)).toEqual([]);
  });

  it('after a second without a request, and not before', async () => {
    const { server, client, handed, clock } = await start({ limits: { idleBeforeRewriter: 1000 } });
    client.send(PREFACE, SETTINGS_FRAME, frameOf(PING, 0, 0, Buffer.alloc(8)), SETTINGS_FRAME.subarray(0, 5));
    await client.frame(({ type }) => type === PING);
    await clock.elapse(999);
    expect(server.outcomes).toEqual([undefined]);
    await clock.elapse(1);
    expect(await server.outcome(0)).toMatchObject({ rewritten: true });
    // Half a frame waits in the rewriter for its other half.
    await handed(PREFACE, SETTINGS_FRAME);
    client.send(SETTINGS_FRAME.subarray(5));
    await handed(PREFACE, SETTINGS_FRAME, SETTINGS_FRAME);
    expect(clock.alarms).toBe(0);
  });

  it('when a client talks on without acknowledging: its bytes are not collected for ever', async () => {
    const { server, client } = await start();
    const body = Array.from({ length: 5 }, () => frameOf(DATA, 0, 1, Buffer.alloc(16_384)));
    client.send(PREFACE, SETTINGS_FRAME, request(client), ...body);
    expect(await server.outcome(0)).toMatchObject({ rewritten: true });
  });
});

describe('is refused', () => {
  const speaks = 'this socket speaks gRPC, HTTP/2 in plaintext from the first byte on';

  it.each([
    ['HTTP/1', 'GET / HTTP/1.1\r\n\r\n', `the peer seems to speak HTTP/1; ${speaks}`],
    ['HTTP/1 that begins like the preface', 'PRI * HTTP/1.1\r\n', `the peer seems to speak HTTP/1; ${speaks}`],
    ['TLS', '\x16\x03\x01', `the peer began a TLS handshake; ${speaks}`],
    ['rubbish', '\0\0\0', `the peer did not send the HTTP/2 preface; ${speaks}`],
  ])('%s', async (_name, bytes, message) => {
    const { server, client, clock } = await start();
    client.send(Buffer.from(bytes, 'latin1'));
    expect(await server.outcome(0)).toMatchObject({ code: 'INVALID_REQUEST', message });
    await client.untilClosed();
    expect(client.frames).toHaveLength(1);
    expect(clock.alarms).toBe(0);
  });

  it('a preface that turns bad in its last byte, after half of it had come', async () => {
    const { server, client } = await start();
    client.send(PREFACE.subarray(0, 12));
    await new Promise(setImmediate);
    client.send(PREFACE.subarray(12, 23), Buffer.from('!'));
    expect(await server.outcome(0)).toMatchObject({ code: 'INVALID_REQUEST' });
  });

  it.each([0, 23])('one that has sent %i bytes of the preface in time', async (length) => {
    const { server, client, clock } = await start({ limits: { prefaceTimeout: 2000 } });
    client.send(PREFACE.subarray(0, length));
    await clock.elapse(1999);
    expect(server.outcomes).toEqual([undefined]);
    await clock.elapse(1);
    expect(await server.outcome(0)).toMatchObject({
      code: 'OVER_LIMIT',
      message: 'the peer did not send the HTTP/2 preface within 2000 ms',
    });
    await client.untilClosed();
  });

  it.each([
    ['a frame that is too large', frameOf(DATA, 0, 1, Buffer.alloc(16_385)), 'OVER_LIMIT'],
    ['a header block that is too large', frameOf(HEADERS, 4, 1, Buffer.alloc(200)), 'OVER_LIMIT'],
    ['a header block without an end', Buffer.alloc(180).fill(frameOf(HEADERS, 0, 1)), 'INVALID_REQUEST'],
    [
      'a header block of empty frames without an end',
      Buffer.concat([frameOf(HEADERS, 0, 1), Buffer.alloc(180).fill(frameOf(CONTINUATION, 0, 1))]),
      'OVER_LIMIT',
    ],
    ['a header block that cannot be read', frameOf(HEADERS, 4, 1, Buffer.from([0x80])), 'INVALID_REQUEST'],
  ])('%s', async (_name, bytes, code) => {
    const { server, client } = await start({ limits: { maxHeaderBytes: 100 } });
    client.send(PREFACE, SETTINGS_FRAME, SETTINGS_ACK, bytes);
    expect(await server.outcome(0)).toMatchObject({ name: 'MayflyError', code });
    expect(server.pairs).toHaveLength(0);
    await client.untilClosed();
  });

  it('one that sends PING and does not read the answers', async () => {
    const { server, client } = await start();
    client.socket.pause();
    const pings = Buffer.alloc(17 * 40_000).fill(frameOf(PING, 0, 0, Buffer.alloc(8)));
    client.send(PREFACE, SETTINGS_FRAME, pings);
    expect(await server.outcome(0)).toMatchObject({
      code: 'OVER_LIMIT',
      message: 'the peer sends PING and does not read the answers',
    });
  });

  it('one for which there is no socket pair', async () => {
    const full = new Error('EMFILE');
    const { server, client } = await start({
      pair: () => {
        throw full;
      },
    });
    client.send(PREFACE, frameOf(HEADERS, 5, 1, Buffer.from([0x81])));
    expect(await server.outcome(0)).toMatchObject({ code: 'OVERLOADED', cause: full });
  });
});

describe('a peer that leaves', () => {
  it.each([
    ['before the preface', Buffer.alloc(0)],
    ['before its first request', Buffer.concat([PREFACE, SETTINGS_FRAME])],
  ])('%s is no error', async (_name, bytes) => {
    const { server, client, clock } = await start({ limits: LIMITS });
    client.socket.end(bytes);
    expect(await server.outcome(0)).toBe('closed');
    await server.drained();
    expect(clock.alarms).toBe(0);
  });

  it('is one that the agent itself closed', async () => {
    const { server } = await start();
    for (const socket of server.sockets) socket.destroy();
    expect(await server.outcome(0)).toBe('closed');
  });
});
