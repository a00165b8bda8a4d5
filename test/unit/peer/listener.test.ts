import { once } from 'node:events';
import { chmodSync, existsSync, statSync } from 'node:fs';
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  createServer,
  type Http2Server,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../../agent/kernel/clock.ts';
import { strongestProof } from '../../../agent/peer/credentials.ts';
import { ExitWatch } from '../../../agent/peer/exit-watch.ts';
import { Listener, type PeerLimits } from '../../../agent/peer/listener.ts';
import type { SocketPlace } from '../../../agent/peer/listening-socket.ts';
import { Instances } from '../../../agent/peer/process.ts';
import { descriptors, isRoot, Processes, until } from '../../support/processes.ts';
import { keptLog } from '../config/log.ts';

const processes = new Processes();
// A socket that is opened meanwhile would be counted among those of the listener.
const watch = new ExitWatch('left alone');
afterAll(async () => {
  processes.clean();
  await watch.close();
});
const child = new URL('../../support/peer-child.ts', import.meta.url);
const limits: PeerLimits = {
  maxConnections: 100,
  maxConnectionsPerUid: 50,
  maxCallsPerConnection: 10,
  maxAttestations: 5,
  prefaceTimeout: 5000,
  maxHeaderBytes: 16_384,
};

describe('a listener', () => {
  const clock = new SystemClock();
  const log = keptLog();
  let instances: Instances;
  let server: Http2Server;
  let listener: Listener;
  let path: string;
  let injected: string[];
  let asked: string[];
  const clients: (ClientHttp2Session | Socket)[] = [];
  const sockets = descriptors(/socket|pidfd|pagemap/);

  const tenantOf = ({ uid }: { readonly uid: number }) => `uid ${uid}`;

  const open = async (over: Partial<PeerLimits> = {}, mode = 0o777, more: readonly SocketPlace[] = []) => {
    listener = await Listener.open({
      name: 'workload',
      sockets: [{ path, mode }, ...more],
      proof: strongestProof(false),
      instances,
      limits: { ...limits, ...over },
      tenantOf,
      log,
      clock,
      asked: (instance) => asked.push(instance.key),
      inject: (socket) => {
        injected.push(String(socket.remoteAddress));
        server.emit('connection', socket);
      },
    });
  };

  beforeEach(() => {
    path = join(processes.directory(), 'api.sock');
    chmodSync(dirname(path), 0o755);
    injected = [];
    asked = [];
    instances = new Instances(watch, clock);
    // Answers with what a handler finds out about its caller.
    server = createServer();
    server.on('stream', (stream: ServerHttp2Stream) => {
      const peer = stream.session?.socket.remoteAddress ?? 'unknown';
      stream.respond({ ':status': 200 });
      stream.end(`${peer} ${listener.callers.of(peer).instance.key}`);
    });
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy();
    await listener.destroyAll();
    await listener.destroyAll();
    expect(listener.connections).toBe(0);
    expect(listener.callers.size).toBe(0);
    expect(listener.admission.connections).toBe(0);
    expect(instances.size).toBe(0);
    instances.close();
    expect(existsSync(path)).toBe(false);
    await until(() => descriptors(/socket|pidfd|pagemap/) <= sockets, 'all descriptors are closed');
  });

  const plain = async () => {
    const socket = connect(path);
    clients.push(socket);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  };
  const http2 = (authority = 'http://localhost', to = path) => {
    const session = connectHttp2(authority, { createConnection: () => connect(to) });
    clients.push(session);
    session.on('error', () => undefined);
    return session;
  };
  const ask = async (session: ClientHttp2Session, headers: Record<string, string> = {}) => {
    const stream = session.request({ ':path': '/', ...headers });
    stream.setEncoding('utf8');
    let body = '';
    for await (const chunk of stream) body += chunk;
    return body;
  };
  const closed = (client: Socket | ClientHttp2Session) =>
    client.destroyed ? Promise.resolve() : new Promise<void>((resolve) => client.once('close', () => resolve()));
  const refusal = (reason: string) => log.lines.filter((line) => line.fields?.['reason'] === reason);

  test('tells a handler who calls: one instance for all connections of a process, an id for each connection', async () => {
    await open();
    const [first, second] = await Promise.all([ask(http2()), ask(http2())]);
    const key = [...instancesOf()][0];
    expect([first, second].toSorted()).toEqual([`workload-1 ${key}`, `workload-2 ${key}`]);
    expect(key).toMatch(new RegExp(`^${process.pid}\\.\\d+\\.1$`));
    expect(injected.toSorted()).toEqual(['workload-1', 'workload-2']);
    expect(listener.connections).toBe(2);
  });

  test('tells it behind the rewriter too', async () => {
    await open();
    const [key, answer] = [process.pid, await ask(http2(), { ':authority': 'outbound|80||x' })];
    expect(answer).toMatch(new RegExp(`^workload-1 ${key}\\.`));
    const session = clients[0] as ClientHttp2Session;
    session.destroy();
    await until(() => listener.connections === 0, 'the connection is given up');
    expect(listener.callers.size).toBe(0);
  });

  test.each([0o777, 0o600])('has a socket of mode %o', async (mode) => {
    await open({}, mode);
    expect(statSync(path).mode & 0o777).toBe(mode);
  });

  test('gives everything back when a client goes', async () => {
    await open();
    const session = http2();
    const [id = ''] = (await ask(session)).split(' ');
    const { instance } = listener.callers.of(id);
    session.destroy();
    await until(() => listener.connections === 0, 'the connection is given up');
    expect(instances.size).toBe(0);
    expect(instance.end).toBeUndefined();
    expect(() => listener.callers.of(id)).toThrowError(expect.objectContaining({ code: 'CALLER_UNKNOWN' }));
  });

  test('tells who asks once for each connection with a first request, and of none that asks nothing', async () => {
    await open();
    const silent = http2();
    await once(silent, 'remoteSettings');
    await until(() => injected.length === 1, 'the silent connection is handed over behind the rewriter');
    expect(asked).toEqual([]);
    const [, key] = (await ask(http2())).split(' ');
    expect(asked).toEqual([key]);
  });

  test('injects nothing of a client that connects and leaves', async () => {
    await open();
    for (let index = 0; index < 50; index += 1) (await plain()).destroy();
    await until(() => listener.connections === 0, 'all connections are given up');
    expect(injected).toEqual([]);
    expect(listener.refusals.counts.size).toBe(0);
  });

  test('cuts what is no HTTP/2, counted, and others do not notice', async () => {
    await open();
    const session = http2();
    await ask(session);
    const rubbish = await plain();
    rubbish.write('GET / HTTP/1.1\r\n\r\n');
    await closed(rubbish.resume());
    expect(listener.refusals.counts.get('first-request')).toBe(1);
    expect(refusal('first-request').at(-1)).toMatchObject({ event: 'peer.refused', fields: { pid: process.pid } });
    expect(await ask(session)).toMatch(/^workload-1 /);
    expect(injected).toEqual(['workload-1']);
  });

  test('cuts who does not speak in time, with the time of a reload for who comes after it', async () => {
    await open();
    listener.setLimits({ ...limits, prefaceTimeout: 30 });
    await closed((await plain()).resume());
    expect(listener.refusals.counts.get('first-request')).toBe(1);
    expect(injected).toEqual([]);
  });

  test('refuses a flood over the limit, and serves who was there', async () => {
    await open({ maxConnectionsPerUid: 20 });
    const session = http2();
    await ask(session);
    const flood = await Promise.all(Array.from({ length: 300 }, () => plain()));
    await until(
      () => (listener.refusals.counts.get('too-many-connections-of-user') ?? 0) === 281,
      'the flood is refused',
    );
    expect(listener.connections).toBe(20);
    expect(await ask(session)).toMatch(/^workload-1 /);
    expect(refusal('too-many-connections-of-user').length).toBe(1);
    for (const socket of flood) socket.destroy();
    await until(() => listener.connections === 1, 'the places are given back');
    expect(await ask(http2())).toMatch(/^workload-\d+ /);
  });

  test('cuts the connections of a process that has ended, after a moment for the last words', async () => {
    await open();
    const peer = await processes.script(child);
    expect(await peer.tell(`connect ${path}`)).toBe('connected');
    await until(() => listener.connections === 1, 'it is accepted');
    const { instance } = listener.callers.of('workload-1');
    expect(instance.pid).toBe(peer.pid);
    // Its child inherits the connection: the socket stays open, the process that opened it does not.
    const heir = Number(await peer.tell('leave'));
    try {
      await peer.exited;
      await until(() => instance.end === 'exited', 'the exit is told');
      expect(listener.connections).toBe(1);
      expect(() => listener.callers.of('workload-1')).toThrowError(expect.objectContaining({ code: 'CALLER_UNKNOWN' }));
      await until(() => listener.connections === 0, 'the connection is cut');
      expect(process.kill(heir, 0)).toBe(true);
    } finally {
      process.kill(heir, 'SIGKILL');
    }
    expect(injected).toEqual([]);
  });

  test.skipIf(!isRoot)('counts users apart (needs root)', async () => {
    await open({ maxConnectionsPerUid: 1 });
    const peer = await processes.script(child);
    await peer.tell('setuid 65534');
    const session = http2();
    await ask(session);
    expect(await peer.tell(`connect ${path}`)).toBe('connected');
    await until(() => listener.connections === 2, 'both are accepted');
    expect(listener.callers.of('workload-2').instance).toMatchObject({ uid: 65534, pid: peer.pid });
    await peer.tell(`connect ${path}`);
    await until(() => listener.refusals.counts.get('too-many-connections-of-user') === 1, 'the third is refused');
    await peer.kill();
  });

  test('that is closed accepts nobody, and keeps serving who is there until they are cut', async () => {
    await open();
    const session = http2();
    await ask(session);
    listener.close();
    expect(existsSync(path)).toBe(false);
    await expect(once(connect(path), 'connect')).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await ask(session)).toMatch(/^workload-1 /);
    const cut = closed(session);
    await listener.destroyAll();
    await cut;
  });

  test('takes callers on each of its sockets, under one set of limits', async () => {
    const second = join(dirname(path), 'second', 'api.sock');
    await open({ maxConnectionsPerUid: 2 }, 0o777, [{ path: second, mode: 0o600 }]);
    expect(statSync(second).mode & 0o777).toBe(0o600);
    const onFirst = await ask(http2());
    const onSecond = await ask(http2(undefined, second));
    expect([onFirst, onSecond].map((answer) => answer.split(' ')[0])).toEqual(['workload-1', 'workload-2']);
    expect(onSecond.split(' ')[1]).toBe(onFirst.split(' ')[1]);
    const third = connect(second);
    clients.push(third);
    third.on('error', () => undefined);
    await until(() => listener.refusals.counts.get('too-many-connections-of-user') === 1, 'the third is refused');
    listener.close();
    expect(existsSync(second)).toBe(false);
  });

  test('is refused where another has one of its sockets, and leaves nothing behind', async () => {
    await open();
    const before = descriptors(/socket/);
    const options = {
      name: 'x',
      sockets: [
        { path: join(dirname(path), 'free.sock'), mode: 0o600 },
        { path, mode: 0o600 },
      ],
      proof: strongestProof(false),
      instances,
      limits,
      tenantOf,
      log,
      clock,
    };
    await expect(Listener.open({ ...options, inject: () => undefined })).rejects.toMatchObject({
      code: 'SOCKET_IN_USE',
      message: `process ${process.pid} holds the socket ${path}; stop it, or choose another path`,
    });
    expect(statSync(path).mode & 0o777).toBe(0o777);
    expect(existsSync(join(dirname(path), 'free.sock'))).toBe(false);
    await until(() => descriptors(/socket/) <= before, 'nothing is left open');
  });

  function instancesOf(): Set<string> {
    return new Set(injected.map((id) => listener.callers.of(id).instance.key));
  }
});
