import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { mayfly } from '../support/daemon.ts';
import { Home } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { Agent } from './agent.ts';
import { commandOf, equipped } from './equipment.ts';
import { callerId, exampleEntries, greeterId, idsOf } from './example-entries.ts';
import type { Language } from './examples.ts';
import { EXAMPLES } from './examples.ts';
import { Program } from './program.ts';

const LANGUAGES = ['go', 'java', 'node', 'python', 'rust'] as const satisfies readonly Language[];
const STRANGER = 'spiffe://example.org/somebody-else';
const GREETING = `${greeterId}: Hello, ${callerId}`;
const LIFETIME_MS = 10_000;

const entryFile = (folder: string) => readFileSync(join(EXAMPLES, folder, 'entries.yaml'), 'utf8');
const examples = inject('examples');

describe('the folders of examples', () => {
  it('have the Workload API as the agent has it', () => {
    const copy = readFileSync(join(EXAMPLES, 'node', 'workload.proto'), 'utf8');
    expect(copy).toBe(readFileSync(join(import.meta.dirname, '..', '..', 'proto', 'workload.proto'), 'utf8'));
  });

  it('have one entry file for all languages', () => {
    expect(new Set(LANGUAGES.map(entryFile)).size).toBe(1);
  });

  it.each(['go', 'nginx'])('have an entry file that the agent takes: %s', async (folder) => {
    const home = new Home({ 'entries.yaml': entryFile(folder) });
    const { code, stderr } = await mayfly(['check', '--config', home.config]);
    home.remove();
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });
});

describe.concurrent('mTLS in a few lines', () => {
  let agent: Agent;
  const servers: Program[] = [];

  beforeAll(async () => {
    agent = await Agent.start(exampleEntries('go', { x509_svid_ttl: `${LIFETIME_MS}ms` }));
  });
  afterAll(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
  });

  const run = (language: Language, name: 'server' | 'client', address: string, peer: string) => {
    const [program, ...args] = commandOf(examples[language][name]);
    const env = { SPIFFE_ENDPOINT_SOCKET: `unix://${agent.socket}` };
    return new Program([program, ...args, address, peer], {
      env,
      ...idsOf(name === 'server' ? 'greeter' : 'caller'),
    });
  };
  const serve = async (language: Language, allowed: string) => {
    const server = run(language, 'server', '127.0.0.1:0', allowed);
    servers.push(server);
    const [, address = ''] = await server.says(/^listening on (127\.0\.0\.1:\d+)$/);
    return { server, address };
  };

  for (const language of LANGUAGES) {
    const { server: serverProgram, client: clientProgram } = examples[language];
    equipped(`in ${language}`, [serverProgram, clientProgram], () => {
      let address: string;

      beforeAll(async () => {
        ({ address } = await serve(language, callerId));
      });

      it('is answered call after call while all that both began with expires', async () => {
        await using client = run(language, 'client', address, greeterId);
        await client.says(/./);
        // Both have a certificate by now; a second for rounding, and one for the call that is under way.
        const expired = Date.now() + LIFETIME_MS + 2_000;
        await eventually('expired', () => (Date.now() > expired ? true : undefined), 2 * LIFETIME_MS);
        const { length } = client.lines;
        await client.says(/./, length);
        expect(length).toBeGreaterThan(LIFETIME_MS / 2_000);
        expect(new Set(client.lines)).toEqual(new Set([GREETING]));
      });

      for (const other of LANGUAGES.filter((name) => name !== language && examples[name].client.kind === 'ready')) {
        it(`answers the client in ${other}`, async () => {
          await using client = run(other, 'client', address, greeterId);
          await client.says(/./);
          expect(client.lines[0]).toBe(GREETING);
        });
      }

      it('has a client that talks to no server of another SPIFFE ID', async () => {
        await using client = run(language, 'client', address, STRANGER);
        expect(await client.ended).toBe(1);
        expect(client.lines).toEqual([]);
        expect(client.stderr).toContain(greeterId);
      });

      it('has a server that greets no client of another SPIFFE ID', async () => {
        const strict = await serve(language, STRANGER);
        await using client = run(language, 'client', strict.address, greeterId);
        expect(await client.ended).toBe(1);
        expect(client.lines).toEqual([]);
        const told = () =>
          strict.server.stderr.split('\n').some((line) => line.startsWith('refused: ') && line.includes(callerId));
        await eventually('a line that says who was refused', () => (told() ? true : undefined));
        expect(strict.server.lines).toEqual([`listening on ${strict.address}`]);
      });
    });
  }
});
