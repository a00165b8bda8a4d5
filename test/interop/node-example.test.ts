import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { eventually } from '../support/json-lines.ts';
import { Agent } from './agent.ts';
import { commandOf, equipped } from './equipment.ts';
import { callerId, exampleEntries, idsOf } from './example-entries.ts';
import type { Credentials } from './held-identity.ts';
import { HeldIdentity } from './held-identity.ts';
import { Program } from './program.ts';

const { server: example } = inject('examples').node;

// The other libraries look at no list; node:tls does.
equipped('the server in node', [example], () => {
  let agent: Agent;
  let directory: string;
  let server: Program;
  let port: number;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'mayfly-node-'));
    agent = await Agent.start(exampleEntries('node'));
    const env = { SPIFFE_ENDPOINT_SOCKET: `unix://${agent.socket}` };
    server = new Program([...commandOf(example), '127.0.0.1:0', callerId], { ...idsOf('greeter'), env });
    port = Number((await server.says(/^listening on 127\.0\.0\.1:(\d+)$/))[1]);
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  /** One connection: what was said on it, whether a session was resumed, and a ticket to resume it with. */
  async function call(credentials: Credentials, session?: Buffer) {
    const socket = connect({
      ...credentials,
      port,
      host: '127.0.0.1',
      checkServerIdentity: () => undefined,
      ...(session && { session }),
    });
    const said = { greeting: '', resumed: false, ticket: undefined as Buffer | undefined };
    socket.on('session', (ticket: Buffer) => {
      said.ticket = ticket;
    });
    socket.once('secureConnect', () => {
      said.resumed = socket.isSessionReused();
    });
    socket.setEncoding('utf8').on('data', (text: string) => {
      said.greeting += text;
    });
    // A refusal is an alert or a reset, as it happens.
    socket.on('error', () => undefined);
    await once(socket, 'close');
    return said;
  }

  it('refuses the certificate of a process that has ended, and the session that it began', async () => {
    const thief = await HeldIdentity.start(agent, directory, idsOf('caller'));
    const { credentials } = thief;
    const { greeting, ticket } = await call(credentials);
    expect(greeting).toBe(`Hello, ${callerId}\n`);
    const again = await call(credentials, ticket);
    expect(again).toMatchObject({ greeting: `Hello, ${callerId}\n`, resumed: true });

    await thief[Symbol.asyncDispose]();
    await eventually('refused', async () => ((await call(credentials)).greeting === '' ? true : undefined), 5_000);
    expect(await call(credentials, again.ticket ?? ticket)).toMatchObject({ greeting: '', resumed: false });
    // It was not its time that refused it.
    expect(new X509Certificate(credentials.cert).validToDate.getTime()).toBeGreaterThan(Date.now());

    // Whoever lives is greeted as before.
    await using honest = await HeldIdentity.start(agent, directory, idsOf('caller'));
    expect((await call(honest.credentials)).greeting).toBe(`Hello, ${callerId}\n`);
  });
});
