import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isMayflyError } from '../../../../agent/kernel/errors.ts';
import type { MonitorLimits, Page } from '../../../../agent/serve/metrics/monitor.ts';
import { Monitor } from '../../../../agent/serve/metrics/monitor.ts';
import { MemoryLog } from '../../../support/memory-log.ts';
import { until } from '../../../support/processes.ts';

let folder: string;
let log: MemoryLog;
let answered: string[];
const monitors: Monitor[] = [];
const sockets: Socket[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mf-mon-'));
  log = new MemoryLog();
  answered = [];
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const monitor of monitors.splice(0)) await monitor.close();
  rmSync(folder, { recursive: true });
});

const PAGES = new Map<string, () => Page | Promise<Page>>([
  ['/healthz', () => ({ status: 200, body: 'ok\n' })],
  ['/metrics', () => Promise.resolve({ status: 200, body: 'up 1\n', type: 'text/plain; version=0.0.4' })],
  ['/big', () => ({ status: 200, body: 'x'.repeat(64 << 20) })],
  ['/broken', () => Promise.reject(new Error('a defect'))],
]);

async function opened(limits: Partial<MonitorLimits> = {}, path?: string): Promise<Monitor> {
  const monitor = await Monitor.open({
    // The system chooses a port; a configuration may not leave that to it.
    address: path === undefined ? { kind: 'tcp', host: '127.0.0.1', port: 0 } : { kind: 'socket', path },
    mode: 0o640,
    pages: PAGES,
    log,
    limits,
    answered: (page, status) => answered.push(`${page} ${status}`),
  });
  monitors.push(monitor);
  return monitor;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

function ask(
  to: Monitor | string,
  path: string,
  options: { method?: string; headers?: Record<string, string>; agent?: Agent; body?: string } = {},
): Promise<Answer> {
  const place = typeof to === 'string' ? { socketPath: to } : { host: '127.0.0.1', port: to.port };
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const { body, ...rest } = options;
  const asking = request({ ...place, path, ...rest }, (response) => {
    const chunks: string[] = [];
    response.setEncoding('utf8').on('data', (text: string) => chunks.push(text));
    response.on('error', reject);
    response.on('end', () => {
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: chunks.join('') });
    });
  });
  asking.on('error', reject);
  asking.end(body);
  return promise;
}

function plain(monitor: Monitor): Socket {
  const socket = connect(monitor.port ?? 0, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => undefined);
  return socket;
}

/** What comes back for bytes as they are, until the other side closes. */
async function raw(monitor: Monitor, bytes: string | Buffer): Promise<string> {
  const socket = plain(monitor);
  const chunks: string[] = [];
  socket.setEncoding('utf8').on('data', (text: string) => chunks.push(text));
  socket.write(bytes);
  await once(socket, 'close');
  return chunks.join('');
}

describe('pages', () => {
  it('are answered to GET with their own type, and to HEAD without the body', async () => {
    const monitor = await opened();
    expect(await ask(monitor, '/healthz?verbose=1')).toMatchObject({ status: 200, body: 'ok\n' });
    const { headers, status, body } = await ask(monitor, '/metrics', { method: 'HEAD' });
    expect({ status, body }).toEqual({ status: 200, body: '' });
    expect(headers).toMatchObject({
      'content-type': 'text/plain; version=0.0.4',
      'content-length': '5',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    expect(answered).toEqual(['/healthz 200', '/metrics 200']);
  });

  it('are read again and again over one connection', async () => {
    const monitor = await opened();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<unknown>();
    agent.on('free', (socket: Socket) => ports.add(socket.localPort));
    for (let count = 0; count < 5; count += 1) {
      expect(await ask(monitor, '/metrics', { agent })).toMatchObject({ status: 200, body: 'up 1\n' });
    }
    agent.destroy();
    expect(ports.size).toBe(1);
  });

  it('that fail are a status that says nothing, a line in the log, and no trouble for the next', async () => {
    const monitor = await opened();
    expect(await ask(monitor, '/broken')).toMatchObject({ status: 500, body: 'internal error; the agent logged it\n' });
    expect(log.lines).toMatchObject([
      { level: 'error', event: 'monitor.failed', fields: { error: { message: 'a defect' } } },
    ]);
    expect((await ask(monitor, '/healthz')).status).toBe(200);
  });
});

describe('what is no request for a page', () => {
  it('is answered with what there is', async () => {
    const monitor = await opened();
    for (const path of ['/', '/metrics/', '/Metrics', '//metrics', '/../metrics', '/%6detrics', '/constructor']) {
      expect(await ask(monitor, path)).toMatchObject({
        status: 404,
        body: 'there are /healthz, /metrics, /big, /broken\n',
      });
    }
    expect(new Set(answered)).toEqual(new Set(['other 404']));
  });

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH'])(
    'is %s: told which methods there are',
    async (method) => {
      const monitor = await opened();
      expect(await ask(monitor, '/metrics', { method })).toMatchObject({
        status: 405,
        headers: { allow: 'GET, HEAD' },
        body: 'only GET and HEAD are answered\n',
      });
    },
  );

  it('is a tunnel, an unknown method, TLS, HTTP/2, or noise', async () => {
    const monitor = await opened();
    expect(await raw(monitor, 'CONNECT example.org:80 HTTP/1.1\r\nHost: a\r\n\r\n')).toMatch(
      /^HTTP\/1\.1 405 .*GET and HEAD/s,
    );
    for (const bytes of [
      'BREW / HTTP/1.1\r\n\r\n',
      Buffer.from('16030100c8010000c40303', 'hex'),
      'GET /metrics HTTP/9.9\r\n\r\n',
      'GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nbad header\r\n\r\n',
      'GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    ]) {
      expect(await raw(monitor, bytes)).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n.*no HTTP\/1\.1 request\n$/s);
    }
    expect(answered).not.toContain('/metrics 200');
    expect((await ask(monitor, '/healthz')).status).toBe(200);
  });

  it('is one with a body, which nobody reads', async () => {
    const monitor = await opened();
    const headers = { 'Content-Length': String(1 << 30) };
    const socket = plain(monitor);
    socket.write(`GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${headers['Content-Length']}\r\n\r\nabc`);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 413 .*no request body is taken\n$/s);
    await once(socket, 'close');
    const chunked = 'GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n';
    expect(await raw(monitor, chunked)).toMatch(/^HTTP\/1\.1 413 /);
    const waiting = 'GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n';
    expect(await raw(monitor, waiting)).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('has too many headers, in bytes', async () => {
    const monitor = await opened();
    const headers = { 'X-Large': 'x'.repeat(9000) };
    expect(await ask(monitor, '/metrics', { headers })).toMatchObject({
      status: 431,
      body: 'a request has at most 8192 bytes of headers\n',
    });
    expect((await ask(monitor, '/metrics', { headers: { 'X-Large': 'x'.repeat(7000) } })).status).toBe(200);
  });

  it('comes under a name that leads here by somebody else’s doing', async () => {
    const monitor = await opened();
    for (const host of ['evil.example', 'evil.example:9464', 'localhost.evil.example', '127.0.0.1.evil.example']) {
      expect(await ask(monitor, '/metrics', { headers: { Host: host } }), host).toMatchObject({ status: 421 });
    }
    for (const host of ['localhost', 'localhost:1', '127.0.0.1:9464', '[::1]:9464']) {
      expect((await ask(monitor, '/metrics', { headers: { Host: host } })).status).toBe(200);
    }
    expect(await raw(monitor, 'GET /metrics HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n')).toMatch(
      /^HTTP\/1\.1 421 /,
    );
    expect(await raw(monitor, 'GET /healthz HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 OK.*ok\n$/s);
  });
});

describe('who uses up connections', () => {
  it('sends its headers byte by byte: is told, and cut', async () => {
    const monitor = await opened({ headersWithin: 200, requestWithin: 400 });
    const socket = plain(monitor);
    const drip = setInterval(() => socket.write('x'), 20);
    socket.write('GET /metrics HTTP/1.1\r\nX-Slow: ');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    clearInterval(drip);
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 408 .*the request took too long\n$/s);
    await once(socket, 'close');
    const silent = plain(monitor);
    silent.resume();
    await once(silent, 'close');
  });

  it('does not read what it is sent: is cut', async () => {
    const monitor = await opened({ stalled: 300 });
    const socket = plain(monitor);
    socket.pause();
    socket.write('GET /big HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    await until(() => socket.destroyed || socket.readableEnded || answered.length > 0, 'it was answered');
    const began = performance.now();
    await monitorHasNone(monitor);
    expect(performance.now() - began).toBeGreaterThan(100);
  });

  it('has as many as there may be: the next is told, and who has his answer gives way', async () => {
    const monitor = await opened({ connections: 4, headersWithin: 60_000, requestWithin: 60_000 });
    const agent = new Agent({ keepAlive: true });
    const idle = await Promise.all([1, 2].map(() => ask(monitor, '/healthz', { agent })));
    expect(idle.map(({ status }) => status)).toEqual([200, 200]);
    const holding = [1, 2, 3, 4].map(() => {
      const socket = plain(monitor);
      socket.write('GET /metrics HTTP/1.1\r\n');
      return socket;
    });
    await until(() => holding.every((socket) => socket.readyState === 'open'), 'four are open');
    // The two that were kept alive have made room for the last two.
    await until(() => Object.keys(agent.freeSockets).length === 0, 'both are cut');
    expect(await raw(monitor, '')).toMatch(/^HTTP\/1\.1 503 .*too many connections are open\n$/s);
    holding[0]?.destroy();
    await until(() => monitor.connections < 4, 'there is room again');
    expect((await ask(monitor, '/healthz')).status).toBe(200);
    expect(holding.slice(1).every((socket) => !socket.destroyed)).toBe(true);
    agent.destroy();
  });
});

describe('where it listens', () => {
  it('is a socket with its mode, which is gone afterwards', async () => {
    const path = join(folder, 'metrics.sock');
    const monitor = await opened({}, path);
    expect(statSync(path).mode & 0o7777).toBe(0o640);
    expect(await ask(path, '/healthz')).toMatchObject({ status: 200, body: 'ok\n' });
    // A web page cannot connect to one.
    expect((await ask(path, '/healthz', { headers: { Host: 'anything' } })).status).toBe(200);
    await expect(opened({}, path)).rejects.toSatisfy((error) => isMayflyError(error, 'SOCKET_IN_USE'));
    expect((await ask(path, '/healthz')).status).toBe(200);
    await monitor.close();
    expect(existsSync(path)).toBe(false);
  });

  it('is a port that is taken, or an address of another machine: a sentence', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    const at = (host: string) => Monitor.open({ address: { kind: 'tcp', host, port }, mode: 0, pages: PAGES, log });
    await expect(at('127.0.0.1')).rejects.toMatchObject({
      code: 'SOCKET_IN_USE',
      message: `another process listens on 127.0.0.1:${port}; stop it, or change metrics.listen`,
    });
    await expect(at('192.0.2.1')).rejects.toMatchObject({ code: 'INVALID_CONFIG' });
    other.close();
  });

  it('is left at once, whoever is connected, and may be left again', async () => {
    const monitor = await opened();
    const socket = plain(monitor);
    socket.resume().write('GET /metrics HTTP/1.1\r\n');
    await once(socket, 'connect');
    const gone = new Promise((resolve) => {
      socket.once('close', resolve);
    });
    await Promise.all([monitor.close(), monitor.close()]);
    await gone;
    await monitor.close();
    await expect(ask(monitor, '/healthz')).rejects.toThrow();
  });
});

/** Resolves when no connection is left, as the server itself says. */
async function monitorHasNone(monitor: Monitor): Promise<void> {
  await until(() => answered.length > 0 && monitor.connections === 0, 'no connection is left');
}
