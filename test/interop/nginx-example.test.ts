import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { MAIN } from '../support/daemon.ts';
import { freePort } from '../support/free-port.ts';
import { eventually } from '../support/json-lines.ts';
import { Agent } from './agent.ts';
import { commandOf, equipped, ROOT } from './equipment.ts';
import { callerId, exampleEntries, greeterId, idsOf, selectorsOf } from './example-entries.ts';
import { EXAMPLES } from './examples.ts';
import type { Credentials } from './held-identity.ts';
import { HeldIdentity } from './held-identity.ts';
import { Program } from './program.ts';

const { nginx } = inject('equipment');
const LIFETIME_MS = 10_000;

equipped('nginx with the files of mayfly watch', [nginx, ROOT], () => {
  let agent: Agent;
  let directory: string;
  let port: number;
  /** What the service behind nginx was asked, by the SPIFFE ID that it was told. */
  const asked: (string | undefined)[] = [];
  const running: AsyncDisposable[] = [];
  let service: Server;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'mayfly-nginx-'));
    // nginx' workers have a user of their own.
    chmodSync(directory, 0o755);
    port = await freePort();
    const stranger = { id: 'stranger', spiffe_id: 'spiffe://example.org/stranger', selectors: selectorsOf('stranger') };
    const entries = exampleEntries('nginx').map((entry) =>
      entry.id === 'greeter' ? { ...entry, x509_svid_ttl: `${LIFETIME_MS}ms` } : entry,
    );
    agent = await Agent.start([...entries, stranger]);
    service = createServer((incoming, response) => {
      asked.push(String(incoming.headers['x-spiffe-id']));
      response.end(`Hello, ${String(incoming.headers['x-spiffe-id'])}`);
    });
    service.listen({ path: join(directory, 'service.sock'), writableAll: true, readableAll: true });
    await once(service, 'listening');

    const authorize = join(EXAMPLES, 'nginx', 'authorize.mjs');
    const socket = join(directory, 'authorize.sock');
    const authorizer = new Program([process.execPath, authorize, socket, callerId]);
    running.push(authorizer);
    await authorizer.says(/^listening on/);

    const run = nginxIn(directory, port);
    const reload = `test ! -e nginx.pid || ${run.join(' ')} -s reload`;
    const watch = ['watch', '--socket', agent.socket, '--write', join(directory, 'svid'), '--exec', reload];
    const watcher = new Program([process.execPath, MAIN, ...watch], { ...idsOf('greeter'), cwd: directory });
    running.push(watcher);
    await watcher.says(/first update/);
    const server = new Program([...run, '-g', 'daemon off;'], { cwd: directory });
    // Killed, it would leave its workers.
    running.push({ [Symbol.asyncDispose]: () => server.stop() });
    await eventually('nginx serves', () => (existsSync(join(directory, 'nginx.pid')) ? true : undefined));
  });
  afterAll(async () => {
    for (const program of running.toReversed()) await program[Symbol.asyncDispose]();
    service.close();
    await agent[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  /** One request on a connection of its own. */
  async function get(credentials: Partial<Credentials>, headers: Record<string, string> = {}) {
    const asking = request({
      ...credentials,
      host: '127.0.0.1',
      port,
      headers,
      agent: false,
      timeout: 5_000,
      checkServerIdentity: (_host, { subjectaltname }) =>
        subjectaltname === `URI:${greeterId}` ? undefined : new Error(`nginx is ${subjectaltname}`),
    });
    asking.end();
    const [response] = await once(asking, 'response');
    const serial = (response.socket as TLSSocket).getPeerX509Certificate()?.serialNumber;
    let body = '';
    for await (const text of response.setEncoding('utf8')) body += String(text);
    return { status: response.statusCode as number, body, serial };
  }

  it('greets the SPIFFE ID that may come in, whatever it says of itself', async () => {
    await using caller = await HeldIdentity.start(agent, directory, idsOf('caller'));
    const { status, body } = await get(caller.credentials, { 'X-Spiffe-Id': 'spiffe://example.org/admin' });
    expect({ status, body }).toEqual({ status: 200, body: `Hello, ${callerId}` });
  });

  it('asks the service nothing for another SPIFFE ID, nor for a client without a certificate', async () => {
    await using stranger = await HeldIdentity.start(agent, directory, idsOf('stranger'));
    const before = asked.length;
    expect((await get(stranger.credentials)).status).toBe(403);
    expect((await get({ ca: stranger.credentials.ca })).status).toBe(400);
    expect(asked).toHaveLength(before);
  });

  it('fails no request while its certificate is renewed', async () => {
    await using caller = await HeldIdentity.start(agent, directory, idsOf('caller'));
    const serials = new Set<string | undefined>();
    const statuses = new Set<number>();
    const until = Date.now() + LIFETIME_MS + 2_000;
    while (Date.now() < until) {
      const { status, serial } = await get(caller.credentials);
      statuses.add(status);
      serials.add(serial);
    }
    expect([...statuses]).toEqual([200]);
    expect(serials.size).toBeGreaterThan(1);
  });

  it('refuses the certificate of a process that has ended', async () => {
    const thief = await HeldIdentity.start(agent, directory, idsOf('caller'));
    const { credentials } = thief;
    expect((await get(credentials)).status).toBe(200);
    await thief[Symbol.asyncDispose]();
    // Lists come with the next renewal here, and at most half a minute later in any case.
    const refusal = await eventually(
      'refused',
      async () => {
        const { status, body } = await get(credentials);
        return status === 200 ? undefined : { status, body };
      },
      35_000,
    );
    expect(refusal.status).toBe(400);
    expect(refusal.body).toContain('The SSL certificate error');
    expect(new X509Certificate(credentials.cert).validToDate.getTime()).toBeGreaterThan(Date.now());
  });
});

/** Puts the example under a main configuration for one test. @returns how to run nginx with it */
function nginxIn(directory: string, port: number): readonly [string, ...string[]] {
  const example = readFileSync(join(EXAMPLES, 'nginx', 'greeter.conf'), 'utf8');
  const here = example
    .replaceAll('/run/greeter/', `${directory}/`)
    .replace('listen 8443 ', `listen 127.0.0.1:${port} `);
  expect(here).toContain(`listen 127.0.0.1:${port} ssl;`);
  writeFileSync(join(directory, 'greeter.conf'), here);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${name};`);
  const main = ['events {}', 'http {', 'access_log off;', ...temporary, 'include greeter.conf;', '}', 'pid nginx.pid;'];
  writeFileSync(join(directory, 'nginx.conf'), main.join('\n'));
  return [...commandOf(nginx), '-p', directory, '-c', 'nginx.conf', '-e', 'stderr'];
}
