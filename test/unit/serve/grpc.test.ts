import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from '../../../agent/gen/health_pb.js';
import { ServerReflection } from '../../../agent/gen/reflection_v1_pb.js';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { GrpcServer } from '../../../agent/serve/grpc.ts';
import type { Call, Handlers } from '../../../agent/serve/handlers.ts';
import { GrpcCaller } from '../../support/grpc-caller.ts';
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
} from '../../support/http2-client.ts';
import { MemoryLog } from '../../support/memory-log.ts';
import { until } from '../../support/processes.ts';

const { check, watch } = Health.method;
const { serverReflectionInfo } = ServerReflection.method;
const INTERNAL = { code: 'INTERNAL', details: 'internal error; the agent logged it' };

/** What the handlers under test do; replaced by each test. */
type All = Handlers<typeof Health, string> & Handlers<typeof ServerReflection, string>;
type Doing = { -readonly [Name in keyof All]?: All[Name] };

let doing: Doing;
let log: MemoryLog;
let server: GrpcServer<string>;
let listener: Server;
let client: GrpcCaller;
let directory: string;
let path: string;
/** Calls that were counted in and not out, by the caller source's own count. */
let entered: number;

beforeEach(async () => {
  doing = {};
  log = new MemoryLog();
  entered = 0;
  const callers = {
    of: (peer: string) => peer,
    enterCall() {
      entered += 1;
      return () => {
        entered -= 1;
      };
    },
  };
  server = new GrpcServer(callers, { maxMessageSize: 1024, maxHeaderSize: 16_384, maxCallsPerConnection: 256 }, log);
  server.add(Health, {
    check: (request, call) => doing.check?.(request, call) ?? {},
    list: () => ({}),
    watch: (request, call) => doing.watch?.(request, call) ?? none(),
  });
  server.add(ServerReflection, {
    serverReflectionInfo: (requests, call) => doing.serverReflectionInfo?.(requests, call) ?? none(),
  });
  directory = mkdtempSync(join(tmpdir(), 'mf-grpc-'));
  path = join(directory, 's');
  let connections = 0;
  listener = createServer((socket) => {
    connections += 1;
    Object.defineProperty(socket, 'remoteAddress', { value: `connection-${connections}` });
    socket.on('error', () => undefined);
    server.inject(socket);
  });
  await new Promise<void>((resolve) => {
    listener.listen(path, resolve);
  });
  client = new GrpcCaller(path);
});

afterEach(async () => {
  await until(() => server.calls === 0, 'no call is under way');
  expect(entered).toBe(0);
  client.close();
  await server.drain(1000);
  listener.close();
  rmSync(directory, { recursive: true });
});

async function* none(): AsyncGenerator<never> {}

/** Ends when its call does, as handlers have to. */
async function* untilAborted({ signal }: Call<string>): AsyncGenerator<{ status: number }> {
  yield { status: 1 };
  await new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve());
  });
}

describe('a handler', () => {
  it('is told the caller of its connection', async () => {
    const seen: string[] = [];
    doing.check = (_request, call) => {
      seen.push(call.caller);
      return {};
    };
    const other = new GrpcCaller(path);
    await client.call(check, {});
    await other.call(check, {});
    await client.call(check, {});
    other.close();
    expect(seen).toEqual(['connection-1', 'connection-2', 'connection-1']);
  });

  it.each<[string, Doing]>([
    [
      'throws at once',
      {
        check() {
          throw new TypeError('a detail that is nobody’s business');
        },
      },
    ],
    ['rejects', { check: () => Promise.reject(new TypeError('a detail that is nobody’s business')) }],
    ['throws what is no error', { check: () => Promise.reject('a detail that is nobody’s business') }],
    [
      'throws a defect of the agent',
      { check: () => Promise.reject(new MayflyError('DATA_DIR_UNSAFE', 'a detail that is nobody’s business')) },
    ],
  ])('of a unary call that %s: INTERNAL without a detail, and the log has it', async (_how, what) => {
    doing = what;
    expect(await client.told(check, {})).toEqual(INTERNAL);
    expect(log.lines).toEqual([
      {
        level: 'error',
        event: 'serve.failed',
        message: '/grpc.health.v1.Health/Check failed',
        fields: {
          path: '/grpc.health.v1.Health/Check',
          error: expect.objectContaining({ message: 'a detail that is nobody’s business' }),
        },
      },
    ]);
  });

  it('of a unary call that answers what cannot be encoded: INTERNAL, and the log has it', async () => {
    doing.check = () => ({ status: 1.5 as never });
    expect(await client.told(check, {})).toEqual(INTERNAL);
    expect(log.events).toEqual(['serve.failed']);
  });

  it.each<[string, () => AsyncGenerator<{ status: number }>]>([
    [
      'throws',
      async function* () {
        yield { status: 1 };
        throw new TypeError('a detail that is nobody’s business');
      },
    ],
    [
      'tells what cannot be encoded',
      async function* () {
        yield { status: 1 };
        yield { status: 1.5 };
      },
    ],
  ])('of a stream that %s: INTERNAL after what came before, and the log has it', async (_how, what) => {
    doing.watch = what;
    const stream = client.stream(watch, {});
    expect(await stream.ended).toEqual(INTERNAL);
    expect(stream.received).toHaveLength(1);
    expect(log.lines).toEqual([expect.objectContaining({ level: 'error', event: 'serve.failed' })]);
  });

  it('of a stream that returns ends it with OK', async () => {
    doing.watch = async function* () {
      yield { status: ServingStatus.SERVING };
    };
    const stream = client.stream(watch, {});
    expect(await stream.ended).toEqual({ code: 'OK', details: 'OK' });
    expect(stream.received).toHaveLength(1);
  });

  it('refuses with its error’s own words, told in the log for who looks closely', async () => {
    doing.check = () => {
      throw new MayflyError('NOT_FOUND', 'there is no such thing: “ü”');
    };
    expect(await client.told(check, {})).toEqual({ code: 'NOT_FOUND', details: 'there is no such thing: “ü”' });
    expect(log.lines).toEqual([
      {
        level: 'debug',
        event: 'serve.refused',
        message: '/grpc.health.v1.Health/Check: there is no such thing: “ü”',
        fields: { path: '/grpc.health.v1.Health/Check' },
      },
    ]);
  });
});

describe('a client', () => {
  it('that cancels a stream aborts its handler, and nothing failed', async () => {
    const aborted = Promise.withResolvers<unknown>();
    doing.watch = async function* (_request, call) {
      yield* untilAborted(call);
      aborted.resolve(call.signal.reason);
    };
    const stream = client.stream(watch, {});
    await stream.at(1);
    stream.cancel();
    expect(await aborted.promise).toMatchObject({ message: 'the client has gone' });
    await until(() => server.calls === 0, 'it is counted off');
    expect(log.lines.filter(({ level }) => level !== 'debug')).toEqual([]);
  });

  it('that cancels a stream of both directions which waits for it aborts its handler, and nothing failed', async () => {
    doing.serverReflectionInfo = async function* (requests) {
      for await (const _ of requests) yield {};
    };
    const stream = client.duplex(serverReflectionInfo);
    stream.send({});
    await stream.at(1);
    expect(server.calls).toBe(1);
    stream.cancel();
    await until(() => server.calls === 0, 'it is counted off');
    expect(log.lines.filter(({ level }) => level !== 'debug')).toEqual([]);
  });

  it('that closes its connection aborts all handlers', async () => {
    doing.watch = (_request, call) => untilAborted(call);
    const byHand = await Http2Client.open(path);
    byHand.send(PREFACE, SETTINGS_FRAME);
    for (const stream of [1, 3]) {
      const block = byHand.encoder.block(requestFields('/grpc.health.v1.Health/Watch', 'localhost'));
      byHand.send(frameOf(HEADERS, END_HEADERS, stream, block), frameOf(DATA, END_STREAM, stream, Buffer.alloc(5)));
      await byHand.frame((frame) => frame.type === DATA && frame.stream === stream);
    }
    expect([server.calls, entered]).toEqual([2, 2]);
    byHand.socket.destroy();
    await until(() => server.calls === 0, 'they are counted off');
  });

  it('whose deadline passes is told so; the call is counted until the work is over', async () => {
    const work = Promise.withResolvers<object>();
    doing.check = () => work.promise;
    expect(await client.told(check, {}, { deadline: 50 })).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(server.calls).toBe(1);
    work.resolve({});
    await until(() => server.calls === 0, 'it is counted off');
  });

  it('whose deadline passes on a stream aborts its handler', async () => {
    doing.watch = (_request, call) => untilAborted(call);
    expect(await client.stream(watch, {}, { deadline: 50 }).ended).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await until(() => server.calls === 0, 'it is counted off');
  });

  it('that sends more than a message may hold reaches no handler', async () => {
    let reached = false;
    doing.check = () => {
      reached = true;
      return {};
    };
    expect(await client.told(check, { service: 'x'.repeat(1024) })).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    expect(reached).toBe(false);
  });

  it('that sends no protobuf is told no more than that, and reaches no handler', async () => {
    const byHand = await Http2Client.open(path);
    const fields = requestFields('/grpc.health.v1.Health/Check', 'localhost');
    byHand.send(PREFACE, SETTINGS_FRAME, frameOf(HEADERS, END_HEADERS, 1, byHand.encoder.block(fields)));
    byHand.send(frameOf(DATA, END_STREAM, 1, Buffer.from('000000000301ffff', 'hex')));
    const { payload } = await byHand.frame(
      ({ type, stream, flags }) => type === HEADERS && stream === 1 && (flags & END_STREAM) !== 0,
    );
    expect(payload.length).toBeLessThan(200);
    expect(server.calls).toBe(0);
    byHand.socket.destroy();
  });

  it('that asks for what there is not is told UNIMPLEMENTED', async () => {
    const method = { ...check, name: 'Wreck' };
    expect(await client.told(method, {})).toMatchObject({ code: 'UNIMPLEMENTED' });
  });
});

describe('draining', () => {
  it('answers calls whose handlers are not to be moved, and drops what they say later', async () => {
    const work = Promise.withResolvers<object>();
    doing.check = () => work.promise;
    const told = client.told(check, {});
    await until(() => server.calls === 1, 'it is under way');
    const drained = server.drain(1000);
    expect([server.calls, entered]).toEqual([0, 0]);
    expect(await told).toEqual({ code: 'UNAVAILABLE', details: 'the agent is stopping' });
    work.reject(new TypeError('too late to matter'));
    await drained;
    expect(log.lines.filter(({ level }) => level !== 'debug')).toEqual([]);
  });

  it('refuses connections that come later', async () => {
    await server.drain(0);
    const byHand = await Http2Client.open(path);
    await byHand.untilClosed();
    expect(byHand.frames).toEqual([]);
  });

  it('is done at once where nobody is connected, and may be asked for again', async () => {
    await server.drain(60_000);
    await server.drain(60_000);
  });
});
