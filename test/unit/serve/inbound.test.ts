import { once } from 'node:events';
import type { ClientHttp2Session, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';
import { connect } from 'node:http2';
import { createConnection } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Health } from '../../../agent/gen/health_pb.js';
import type { ApiWorld } from '../../support/api-world.ts';
import { apiWorld } from '../../support/api-world.ts';
import {
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frameOf,
  HEADERS,
  Http2Client,
  PREFACE,
  requestFields,
  SETTINGS,
  SETTINGS_FRAME,
} from '../../support/http2-client.ts';

const CHECK = '/grpc.health.v1.Health/Check';
const REFLECTION = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
const ENHANCE_YOUR_CALM = 11;
const MEGABYTE = 1024 * 1024;

setFlagsFromString('--expose_gc');
const collectGarbage: () => void = runInNewContext('gc');

let world: ApiWorld;
beforeAll(async () => {
  world = await apiWorld([]);
});
afterAll(() => world.close());

async function connected(settings: Buffer = SETTINGS_FRAME): Promise<Http2Client> {
  const client = await Http2Client.open(world.path);
  client.send(PREFACE, settings);
  return client;
}

function request(client: Http2Client, stream: number, path: string, more: readonly [string, string][] = []): Buffer {
  const added = more.map(
    ([name, value]) => ({ name, value, as: 'indexed', nameByIndex: true, huffman: false }) as const,
  );
  return frameOf(HEADERS, END_HEADERS, stream, client.encoder.block([...requestFields(path, 'localhost'), ...added]));
}

function prefix(length: number, flag = 0): Buffer {
  const bytes = Buffer.alloc(5);
  bytes[0] = flag;
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

/** So many bytes on a stream, each in a frame of its own. */
function byteByByte(stream: number, bytes: number): Buffer {
  return Buffer.concat(Array(bytes).fill(frameOf(DATA, 0, stream, Buffer.alloc(1))));
}

/** What was sent before this has been read by now. */
async function quiet(client: Http2Client, stream: number): Promise<void> {
  client.send(request(client, stream, CHECK), frameOf(DATA, END_STREAM, stream, prefix(0)));
  await client.response(stream);
}

/** The headers or trailers in which the status of a call is told. */
async function ask(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body: Buffer,
): Promise<IncomingHttpHeaders> {
  const stream = session.request({
    ':method': 'POST',
    ':path': CHECK,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  let told: IncomingHttpHeaders = {};
  for (const event of ['response', 'trailers']) stream.on(event, (heard) => (told = heard));
  stream.end(body);
  stream.resume();
  await once(stream, 'close');
  return told;
}

test('a message that comes byte by byte takes no more than its bytes', async () => {
  const client = await connected();
  await quiet(client, 1);
  collectGarbage();
  const before = process.memoryUsage();
  const streams = [3, 5];
  for (const stream of streams) {
    client.send(request(client, stream, CHECK), frameOf(DATA, 0, stream, prefix(40_000)), byteByByte(stream, 30_000));
  }
  await quiet(client, 11);
  collectGarbage();
  const after = process.memoryUsage();
  // In pieces they were four megabytes each.
  expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(4 * MEGABYTE);

  for (const stream of streams) {
    client.send(frameOf(DATA, END_STREAM, stream, Buffer.alloc(10_000)));
    // It has arrived whole, and is no protobuf.
    await client.response(stream);
  }
  client.socket.destroy();
});

test('a compressed message is refused, and not unpacked; its connection goes on', async () => {
  const session = connect('http://localhost', { createConnection: () => createConnection(world.path) });
  const packed = gzipSync('');
  const told = await ask(session, { 'grpc-encoding': 'gzip' }, Buffer.concat([prefix(packed.length, 1), packed]));
  expect(told).toMatchObject({ 'grpc-status': '12', 'grpc-message': 'compressed%20requests%20are%20not%20taken' });
  // One that only says that it may compress.
  expect(await ask(session, { 'grpc-encoding': 'gzip' }, prefix(0))).toMatchObject({ 'grpc-status': '0' });
  session.close();
});

test('no request of a connection has more headers than the first may have', async () => {
  const client = await connected();
  await quiet(client, 1);
  const withHeader = (stream: number, bytes: number) => {
    const more = { name: 'x', value: 'y'.repeat(bytes), as: 'indexed', nameByIndex: true, huffman: false } as const;
    const block = client.encoder.block([...requestFields(CHECK, 'localhost'), more]);
    const pieces = Array.from({ length: Math.ceil(block.length / 16_000) }, (_, index) =>
      block.subarray(16_000 * index, 16_000 * (index + 1)),
    );
    client.send(
      ...pieces.map((piece, index) =>
        frameOf(index === 0 ? HEADERS : CONTINUATION, index === pieces.length - 1 ? END_HEADERS : 0, stream, piece),
      ),
      frameOf(DATA, END_STREAM, stream, prefix(0)),
    );
    return client.response(stream);
  };
  expect(await withHeader(3, 15_000)).not.toContain('RST');
  expect(await withHeader(5, 17_000)).toBe(`RST ${ENHANCE_YOUR_CALM}`);
  // Nor where it takes a byte each time to name what was sent once.
  const often = client.encoder.block(
    Array.from({ length: 20 }, () => ({
      name: 'z',
      value: 'y'.repeat(1000),
      as: 'indexed' as const,
      nameByIndex: true,
      huffman: false,
    })),
  );
  client.send(
    frameOf(HEADERS, 0, 7, client.encoder.block(requestFields(CHECK, 'localhost'))),
    frameOf(CONTINUATION, END_HEADERS, 7, often),
  );
  expect(await client.response(7)).toBe(`RST ${ENHANCE_YOUR_CALM}`);
  client.socket.destroy();
});

test('a client that sends on in tiny pieces while it reads no answers has its stream reset, and others are served', async () => {
  const window = Buffer.alloc(6);
  window.writeUInt16BE(4, 0);
  const client = await connected(frameOf(SETTINGS, 0, 0, window));
  // None of the answers to these is taken off, so that the agent reads no further.
  const many = Buffer.concat(Array(100).fill(prefix(0)));
  client.send(request(client, 1, REFLECTION), frameOf(DATA, 0, 1, many));
  await client.frame(({ stream, type }) => type === HEADERS && stream === 1);
  client.send(byteByByte(1, 1000));
  expect(await client.response(1)).toBe(`RST ${ENHANCE_YOUR_CALM}`);
  expect(await world.client.call(Health.method.check, {})).toMatchObject({ status: 1 });
  client.socket.destroy();
});
