import {
  Client,
  credentials,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { AdaptedServer } from '../../../support/adapted-server.ts';
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  frameOf,
  HEADERS,
  Http2Client,
  PREFACE,
  requestFields,
  SETTINGS_FRAME,
  WINDOW_UPDATE,
} from '../../../support/http2-client.ts';

const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function open(path: string): Promise<Http2Client> {
  const client = await Http2Client.open(path);
  closing.push(() => client.socket.destroy());
  client.send(PREFACE, SETTINGS_FRAME);
  return client;
}

describe('gRPC', () => {
  const same = (bytes: Buffer): Buffer => bytes;
  const method = { path: '/test.Peer/Get', requestStream: false, responseStream: false };

  async function grpc(): Promise<AdaptedServer> {
    const server = new Server();
    server.register(
      method.path,
      (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
        done(null, Buffer.concat([Buffer.from(`${call.getPeer()} `), call.request])),
      same,
      same,
      'unary',
    );
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    const adapter = await AdaptedServer.listen({ inject: (socket) => injector.injectConnection(socket) });
    closing.push(
      () => adapter[Symbol.asyncDispose](),
      () => server.forceShutdown(),
    );
    return adapter;
  }

  it.each([
    ['localhost', false],
    ['/tmp/x.sock', true],
  ])('is served to a client that says %s, large messages too', async (authority, rewritten) => {
    const server = await grpc();
    const client = new Client(`unix:${server.path}`, credentials.createInsecure(), {
      'grpc.default_authority': authority,
    });
    closing.push(() => client.close());
    const message = Buffer.alloc(3_000_000, 'message');
    const { promise, resolve, reject } = Promise.withResolvers<Buffer | undefined>();
    client.makeUnaryRequest(method.path, same, same, message, (error, response) =>
      error ? reject(error) : resolve(response),
    );
    expect((await promise)?.equals(Buffer.concat([Buffer.from('connection-0 '), message]))).toBe(true);
    expect(await server.outcome(0)).toMatchObject({ rewritten });
  });

  it('never gives one rewritten connection the identity of another in 10,000 interleaved calls', async () => {
    const server = await grpc();
    const callsEach = 5000;
    const message = Buffer.alloc(5);
    const ask = (client: Http2Client, number: number, authority: string | undefined): void => {
      const block = client.encoder.block(requestFields(method.path, authority));
      const stream = number * 2 + 1;
      client.send(frameOf(HEADERS, END_HEADERS, stream, block), frameOf(DATA, END_STREAM, stream, message));
    };
    const run = async (authority: string | undefined): Promise<[string, number][]> => {
      const client = await open(server.path);
      const peers = new Map<string, number>();
      let asked = 0;
      let answered = 0;
      let looked = 0;
      let received = 0;
      // So many under way; each answer asks the next, and gives the window back that it took.
      for (; asked < 30; asked += 1) ask(client, asked, authority);
      await client.until(() => {
        for (; looked < client.frames.length; looked += 1) {
          const { type, payload } = client.frames[looked]!;
          if (type !== DATA || payload.length === 0) continue;
          const peer = payload.toString('latin1', 5).trim();
          peers.set(peer, (peers.get(peer) ?? 0) + 1);
          answered += 1;
          received += payload.length;
          if (asked < callsEach) ask(client, asked++, authority);
        }
        if (received > 10_000) client.send(frameOf(WINDOW_UPDATE, 0, 0, integerOf4(received)));
        if (received > 10_000) received = 0;
        return client.closed || answered === callsEach;
      }, 15_000);
      return [...peers];
    };
    const seen = await Promise.all([run('/tmp/x.sock'), run(undefined)]);
    // Which of the two was accepted first is the kernel's choice.
    expect(seen.flat().toSorted(([a], [b]) => a.localeCompare(b))).toEqual([
      ['connection-0', callsEach],
      ['connection-1', callsEach],
    ]);
    expect(seen.map((peers) => peers.length)).toEqual([1, 1]);
    expect(server.outcomes).toMatchObject([{ rewritten: true }, { rewritten: true }]);
  });
});

function integerOf4(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
