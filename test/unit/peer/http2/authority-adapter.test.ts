import { afterEach, describe, expect, it } from 'vitest';
import type { FirstRequestLimits } from '../../../../agent/peer/http2/first-request.ts';
import { isLegalAuthority } from '../../../../agent/peer/http2/request-headers.ts';
import { AdaptedServer } from '../../../support/adapted-server.ts';
import { adapted, echoed, echoServer, flat } from '../../../support/echo-server.ts';
import { HpackEncoder, integerOf } from '../../../support/hpack-encoder.ts';
import {
  ACK,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frameOf,
  GOAWAY,
  HEADERS,
  Http2Client,
  PADDED,
  PING,
  PREFACE,
  PRIORITY,
  requestFields,
  SETTINGS,
  SETTINGS_ACK,
  SETTINGS_FRAME,
  WINDOW_UPDATE,
} from '../../../support/http2-client.ts';
import { socketPair } from '../../../support/socket-pair.ts';

const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function start(limits: Partial<FirstRequestLimits> = {}): Promise<AdaptedServer> {
  const http2 = echoServer();
  const server = await AdaptedServer.listen({ limits, inject: (socket) => void http2.emit('connection', socket) });
  closing.push(() => server[Symbol.asyncDispose]());
  return server;
}

async function open(path: string): Promise<Http2Client> {
  const client = await Http2Client.open(path);
  closing.push(() => client.socket.destroy());
  client.send(PREFACE, SETTINGS_FRAME);
  return client;
}

describe('the table of legal bytes', () => {
  it('is what nghttp2 takes, byte for byte', async () => {
    const http2 = echoServer();
    const taken: number[] = [];
    // Node gives a session up after a hundred refusals.
    for (let first = 0; first < 256; first += 32) {
      const [near, far] = socketPair();
      http2.emit('connection', far);
      const client = Http2Client.over(near);
      client.send(PREFACE, SETTINGS_FRAME);
      for (let byte = first; byte < first + 32; byte += 1) {
        const fields = requestFields('/x', `a${String.fromCharCode(byte)}`, {
          as: 'plain',
          nameByIndex: true,
          huffman: false,
        });
        const stream = (byte - first) * 2 + 1;
        client.send(client.request(stream, fields));
        if (!(await echoed(client, stream))[0]?.startsWith('RST')) taken.push(byte);
      }
      client.socket.destroy();
    }
    expect(taken).toHaveLength(81);
    expect(taken).toEqual(
      Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => isLegalAuthority(Buffer.from([byte]))),
    );
  });
});

describe('an authority', () => {
  const authorities = [undefined, '', 'localhost', '/tmp/x.sock', 'tmp%2Fx.sock', 'outbound|80||x', 'user@h'];

  it.each(authorities)('of %j is served in every representation, again and again', async (authority) => {
    const server = await start();
    const legal = authority !== undefined && isLegalAuthority(Buffer.from(authority));
    let connections = 0;
    for (const as of ['indexed', 'incremental', 'plain', 'never'] as const) {
      for (const [huffman, nameByIndex] of [
        [false, false],
        [false, true],
        [true, false],
        [true, true],
      ] as const) {
        const client = await open(server.path);
        for (const stream of [1, 3, 5]) {
          const fields = requestFields(`/${stream}`, authority, { as, huffman, nameByIndex });
          client.send(client.request(stream, fields));
          expect(await echoed(client, stream)).toEqual(adapted(fields));
        }
        expect(await server.outcome(connections)).toMatchObject({ rewritten: !legal });
        connections += 1;
        client.socket.destroy();
      }
    }
  });

  it('is stood for by a legal host', async () => {
    const server = await start();
    const client = await open(server.path);
    const fields = [
      ...requestFields('/x', undefined),
      { name: 'host', value: 'h', as: 'indexed', nameByIndex: true, huffman: true } as const,
    ];
    for (const stream of [1, 3]) {
      client.send(client.request(stream, fields));
      expect(await echoed(client, stream)).toEqual(flat(fields));
    }
    expect(await server.outcome(0)).toMatchObject({ rewritten: false });
  });

  it('remains refused when there are two', async () => {
    const server = await start();
    const client = await open(server.path);
    const [method, ...others] = requestFields('/x', '/bad');
    if (method === undefined) throw new Error('no fields');
    const authority = { ...method, name: ':authority', value: 'good' };
    client.send(client.request(1, [method, authority, ...others]));
    expect(await echoed(client, 1)).toEqual(['RST 1']);
    client.send(client.request(3, [method, ...others]));
    expect(await echoed(client, 3)).toEqual(adapted([method, ...others]));
  });
});

describe.each([
  ['raw', 'localhost'],
  ['rewritten', '/tmp/x.sock'],
])('a %s connection', (kind, authority) => {
  const rewritten = kind === 'rewritten';

  it('takes padding, priority, CONTINUATION and changes of the table', async () => {
    const server = await start();
    const client = await open(server.path);
    const fields = requestFields('/x', authority);
    for (const stream of [1, 3, 5, 7, 9, 11]) {
      const encoder = client.encoder;
      const update =
        stream === 1 ? Buffer.alloc(0) : encoder.sizeUpdate([4096, 0, 120, 200][((stream - 1) / 2) % 4] ?? 0);
      const block = Buffer.concat([update, encoder.block(fields)]);
      const cut = stream % 5;
      client.send(
        frameOf(
          HEADERS,
          END_STREAM | PADDED | PRIORITY,
          stream,
          Buffer.concat([Buffer.from([stream, 0, 0, 0, 0, 7]), block.subarray(0, cut), Buffer.alloc(stream)]),
        ),
        frameOf(CONTINUATION, 0, stream),
        frameOf(CONTINUATION, 0, stream, block.subarray(cut, cut + 1)),
        frameOf(CONTINUATION, END_HEADERS, stream, block.subarray(cut + 1)),
      );
      expect(await echoed(client, stream)).toEqual(adapted(fields));
    }
    expect(await server.outcome(0)).toMatchObject({ rewritten });
  });

  it('may wait for SETTINGS, send PING and WINDOW_UPDATE first, or send all at once', async () => {
    const server = await start();
    const fields = requestFields('/x', authority);

    const waiting = await open(server.path);
    await waiting.frame(({ type }) => type === SETTINGS);
    waiting.send(waiting.request(1, fields));
    expect(await echoed(waiting, 1)).toEqual(adapted(fields));

    const early = await open(server.path);
    early.send(frameOf(WINDOW_UPDATE, 0, 0, Buffer.from([0, 1, 0, 0])), frameOf(PING, 0, 0, Buffer.from('12345678')));
    const pong = await early.frame(({ type }) => type === PING);
    expect(pong).toMatchObject({ flags: ACK, payload: Buffer.from('12345678') });
    early.send(early.request(1, fields));
    expect(await echoed(early, 1)).toEqual(adapted(fields));

    const encoder = new HpackEncoder();
    const request = frameOf(HEADERS, END_HEADERS | END_STREAM, 1, encoder.block(fields));
    const hasty = await Http2Client.open(server.path);
    closing.push(() => hasty.socket.destroy());
    hasty.send(PREFACE, SETTINGS_FRAME, request);
    expect(await echoed(hasty, 1)).toEqual(adapted(fields));
  });

  it('gets each acknowledgement of SETTINGS and PING once', async () => {
    const server = await start();
    const client = await open(server.path);
    client.send(client.request(1, requestFields('/x', authority)), frameOf(PING, 0, 0, Buffer.alloc(8, 1)));
    await echoed(client, 1);
    client.send(frameOf(PING, 0, 0, Buffer.alloc(8, 2)));
    await client.frame(({ type, payload }) => type === PING && payload[0] === 2);
    const acks = client.frames.filter(({ type, flags }) => (type === PING || type === SETTINGS) && flags === ACK);
    expect(acks.map(({ type }) => type).sort((a, b) => a - b)).toEqual([SETTINGS, PING, PING]);
    expect(client.frames.some(({ type }) => type === GOAWAY)).toBe(false);
  });

  it('takes many streams at once, with bodies and trailers', async () => {
    const server = await start();
    const client = await open(server.path);
    const fields = requestFields('/x', authority);
    const trailer = { name: 'x-end', value: 'of it', as: 'indexed', nameByIndex: true, huffman: true } as const;
    const streams = Array.from({ length: 90 }, (_, index) => index * 2 + 1);
    for (const stream of streams) {
      client.send(frameOf(HEADERS, END_HEADERS, stream, client.encoder.block(fields)));
    }
    for (const stream of streams) client.send(frameOf(DATA, 0, stream, Buffer.alloc(100)));
    for (const stream of streams) {
      client.send(frameOf(HEADERS, END_HEADERS | END_STREAM, stream, client.encoder.block([trailer])));
    }
    for (const stream of streams) {
      expect(await echoed(client, stream)).toEqual([...adapted(fields), 'x-end', 'of it']);
    }
  });

  it('may be written byte by byte', async () => {
    const server = await start();
    // Its acknowledgements would come between the bytes of a frame.
    const client = await Http2Client.open(server.path, { acknowledge: false });
    closing.push(() => client.socket.destroy());
    const fields = requestFields('/x', authority);
    const requests = [client.request(1, fields), client.request(3, fields)];
    const bytes = Buffer.concat([PREFACE, SETTINGS_FRAME, SETTINGS_ACK, ...requests, SETTINGS_ACK]);
    for (const byte of bytes) {
      client.socket.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    expect(await echoed(client, 1)).toEqual(adapted(fields));
    expect(await echoed(client, 3)).toEqual(adapted(fields));
  });

  it('leaves nothing behind when the client closes it, and when the server does', async () => {
    const http2 = echoServer();
    const sessions: { close(): void; destroyed: boolean }[] = [];
    http2.on('session', (session) => sessions.push(session));
    const server = await AdaptedServer.listen({ inject: (socket) => void http2.emit('connection', socket) });
    closing.push(() => server[Symbol.asyncDispose]());

    const leaving = await open(server.path);
    leaving.send(leaving.request(1, requestFields('/x', authority)));
    await echoed(leaving, 1);
    leaving.socket.destroy();
    await server.drained();
    expect(sessions.map(({ destroyed }) => destroyed)).toEqual([true]);

    const left = await open(server.path);
    left.send(left.request(1, requestFields('/x', authority)));
    await echoed(left, 1);
    sessions[1]?.close();
    await left.frame(({ type }) => type === GOAWAY);
    await left.untilClosed();
    left.socket.end();
    await server.drained();
  });

  it('ends with GOAWAY at a header block that cannot be read', async () => {
    const server = await start();
    const client = await open(server.path);
    client.send(client.request(1, requestFields('/x', authority)));
    await echoed(client, 1);
    client.send(frameOf(HEADERS, END_HEADERS, 3, integerOf(0x80, 7, 150)));
    const goaway = await client.frame(({ type }) => type === GOAWAY);
    // COMPRESSION_ERROR: RFC 9113, section 4.3.
    expect(goaway.payload.readUInt32BE(4)).toBe(9);
    client.socket.end();
    await server.drained();
  });
});

describe('a connection that asks nothing', () => {
  it('is served when it does, whatever its authority', async () => {
    const server = await start({ idleBeforeRewriter: 20 });
    for (const authority of ['localhost', undefined, '/tmp/x.sock']) {
      const client = await open(server.path);
      expect(await server.outcome(server.outcomes.length - 1)).toMatchObject({ rewritten: true });
      // Both SETTINGS are there: nghttp2 has the connection.
      await client.until(
        () => client.frames.filter(({ type, flags }) => type === SETTINGS && flags === 0).length === 2,
      );
      client.send(client.request(1, requestFields('/x', authority)));
      expect(await echoed(client, 1)).toEqual(adapted(requestFields('/x', authority)));
    }
  });
});
