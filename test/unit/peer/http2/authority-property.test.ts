import * as fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { AdaptedServer } from '../../../support/adapted-server.ts';
import { adapted, echoed, echoServer, flat } from '../../../support/echo-server.ts';
import { type WrittenField } from '../../../support/hpack-encoder.ts';
import {
  CONTINUATION,
  END_HEADERS,
  END_STREAM,
  frameOf,
  HEADERS,
  Http2Client,
  PADDED,
  PREFACE,
  PRIORITY,
  requestFields,
  SETTINGS_FRAME,
} from '../../../support/http2-client.ts';

const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function start(): Promise<AdaptedServer> {
  const http2 = echoServer();
  const server = await AdaptedServer.listen({ inject: (socket) => void http2.emit('connection', socket) });
  closing.push(() => server[Symbol.asyncDispose]());
  return server;
}

async function open(path: string): Promise<Http2Client> {
  const client = await Http2Client.open(path);
  closing.push(() => client.socket.destroy());
  client.send(PREFACE, SETTINGS_FRAME);
  return client;
}

describe('any legal header block', () => {
  const how = {
    as: fc.constantFrom('indexed', 'incremental', 'plain', 'never'),
    nameByIndex: fc.boolean(),
    huffman: fc.boolean(),
  } as const;
  const text = fc
    .string({ unit: fc.constantFrom(...'a b c X Y Z 0 1 9 / % ~ | " é'.split(' '), ' '), maxLength: 40 })
    .map((value) => value.trim());
  const value = fc.oneof(text, fc.constantFrom('', 'long'.repeat(300), 'b'));
  const pseudo = (name: string, values: fc.Arbitrary<string>) =>
    fc.record({ name: fc.constant(name), value: values, ...how });
  const authority = fc.constantFrom('', 'localhost', '/tmp/x.sock', 'outbound|80||x', 'a'.repeat(60), '@');
  const fields = fc
    .tuple(
      fc.shuffledSubarray([':method', ':scheme', ':path', ':authority', 'optional'], { minLength: 5 }),
      fc.record({
        ':method': pseudo(':method', fc.constantFrom('POST', 'GET')),
        ':scheme': pseudo(':scheme', fc.constant('http')),
        ':path': pseudo(':path', fc.constantFrom('/', '/a', `/${'long'.repeat(50)}`)),
        ':authority': pseudo(':authority', authority),
      }),
      fc.boolean(),
      fc.uniqueArray(
        fc.record({ name: fc.constantFrom('x-a', 'x-b', 'x-c', 'user-agent', 'content-type', 'x-bin'), value, ...how }),
        { selector: ({ name }) => name },
      ),
    )
    .map(([order, named, hasAuthority, regular]): WrittenField[] => [
      ...order.flatMap((name) =>
        name in named && (hasAuthority || name !== ':authority') ? [named[name as keyof typeof named]] : [],
      ),
      ...regular,
    ]);
  const request = fc.record({
    fields,
    trailers: fc.option(fc.array(fc.record({ name: fc.constantFrom('x-a', 'x-t'), value, ...how }), { maxLength: 2 })),
    size: fc.option(fc.constantFrom(0, 64, 200, 1500, 4096)),
    padding: fc.option(fc.nat(20)),
    priority: fc.boolean(),
    cuts: fc.array(fc.nat(400), { maxLength: 3 }),
  });

  it('reaches nghttp2 with all other fields unchanged', async () => {
    const server = await start();
    const rewriteMe = requestFields('/x', '/');
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 14 }), fc.nat(), async (requests, seed) => {
        const client = await open(server.path);
        const sent = [client.request(1, rewriteMe)];
        for (const [index, { fields: written, trailers, size, padding, priority, cuts }] of requests.entries()) {
          const stream = index * 2 + 3;
          const update = size === null ? Buffer.alloc(0) : client.encoder.sizeUpdate(size);
          const block = Buffer.concat([update, client.encoder.block(written)]);
          const places = [0, ...cuts.map((cut) => Math.min(cut, block.length)).sort((a, b) => a - b), block.length];
          const pieces = places.slice(1).map((end, piece) => block.subarray(places[piece], end));
          const end = trailers === null ? END_STREAM : 0;
          pieces.forEach((piece, number) => {
            const last = number === pieces.length - 1 ? END_HEADERS : 0;
            if (number > 0) {
              sent.push(frameOf(CONTINUATION, last, stream, piece));
              return;
            }
            const before = [
              padding === null ? Buffer.alloc(0) : Buffer.from([padding]),
              priority ? Buffer.from([0, 0, 0, 0, 9]) : Buffer.alloc(0),
            ];
            const flags = (padding === null ? 0 : PADDED) | (priority ? PRIORITY : 0);
            sent.push(
              frameOf(
                HEADERS,
                last | end | flags,
                stream,
                Buffer.concat([...before, piece, Buffer.alloc(padding ?? 0)]),
              ),
            );
          });
          if (trailers !== null) {
            sent.push(frameOf(HEADERS, END_HEADERS | END_STREAM, stream, client.encoder.block(trailers)));
          }
        }
        const bytes = Buffer.concat(sent);
        const cut = seed % bytes.length;
        client.send(bytes.subarray(0, cut));
        client.send(bytes.subarray(cut));
        expect(await echoed(client, 1)).toEqual(adapted(rewriteMe));
        for (const [index, { fields: written, trailers }] of requests.entries()) {
          expect(await echoed(client, index * 2 + 3)).toEqual([...adapted(written), ...flat(trailers ?? [])]);
        }
        client.socket.destroy();
      }),
      { numRuns: 60 },
    );
  });
});
