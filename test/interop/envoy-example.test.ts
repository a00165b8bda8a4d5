import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { parse } from 'yaml';
import { eventually } from '../support/json-lines.ts';
import { WorkloadClient } from '../support/workload-client.ts';
import type { EntrySpec } from './agent.ts';
import { Agent, entry } from './agent.ts';
import type { Config } from './envoy.ts';
import { Envoy } from './envoy.ts';
import { API, ask, idOf, WEB } from './envoy-pair.ts';
import { commandOf, equipped, ROOT } from './equipment.ts';
import { StolenIdentity } from './stolen-identity.ts';

const { envoy } = inject('equipment');
const run = promisify(execFile);

const EXAMPLE = join(import.meta.dirname, '..', '..', 'deploy', 'examples', 'envoy');
const USERS: Readonly<Record<string, number>> = { greeter: API.uid, caller: WEB.uid };
const OPEN_MS = 2000;

/** A file of the example, with what a user puts in: socket and ports. And connections that nobody has to wait a quarter of an hour for. */
function configOf(name: string, put: Readonly<Record<string, string>>): Config {
  const text = Object.entries({ ...put, 'duration: 900s': `duration: ${OPEN_MS / 1000}s` }).reduce(
    (given, [from, to]) => {
      expect(given).toContain(from);
      return given.replace(from, to);
    },
    readFileSync(join(EXAMPLE, name), 'utf8'),
  );
  return parse(text) as Config;
}

/** Its entries; the users need not be on this machine, nor its Envoy where theirs is. */
function entries(): readonly EntrySpec[] {
  const { entries: specs } = parse(readFileSync(join(EXAMPLE, 'entries.yaml'), 'utf8')) as { entries: EntrySpec[] };
  return specs.map((spec) => {
    expect(spec.selectors).toEqual([`unix:user:${spec.id}-proxy`, 'unix:path:/usr/bin/envoy']);
    return { ...spec, selectors: [`unix:uid:${USERS[spec.id]}`, `unix:path:${commandOf(envoy)[0]}`] };
  });
}

equipped('the example with two Envoys', [envoy, ROOT], () => {
  let agent: Agent;
  let service: Server;
  let greeter: Envoy;
  let caller: Envoy;
  let port: number;

  beforeAll(async () => {
    agent = await Agent.start([...entries(), entry('thief')]);
    const socket = { '/run/mayfly/api.sock': agent.socket };
    service = createServer(({ headers }, response) => {
      response.end(`called by ${headers['x-forwarded-client-cert']?.toString()}`);
    });
    await once(service.listen(0, '127.0.0.1'), 'listening');
    const { port: servicePort } = service.address() as AddressInfo;
    greeter = await Envoy.start(
      envoy,
      configOf('greeter.yaml', {
        ...socket,
        'port_value: 8443': 'port_value: 0',
        'port_value: 9000': `port_value: ${servicePort}`,
      }),
      API,
    );
    port = await greeter.port('mtls');
    caller = await Envoy.start(
      envoy,
      configOf('caller.yaml', {
        ...socket,
        'port_value: 8080': 'port_value: 0',
        'port_value: 8443': `port_value: ${port}`,
      }),
      WEB,
    );
  });
  afterAll(async () => {
    await caller[Symbol.asyncDispose]();
    await greeter[Symbol.asyncDispose]();
    await service[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
  });

  for (const name of ['greeter.yaml', 'caller.yaml']) {
    it(`is taken by Envoy as ${name} stands`, async () => {
      const args = ['--mode', 'validate', '--disable-hot-restart', '--config-path', join(EXAMPLE, name)];
      expect((await run(commandOf(envoy)[0], args)).stdout).toContain(`configuration '${join(EXAMPLE, name)}' OK`);
    });
  }

  it('tells the service who calls', async () => {
    const { status, body } = await ask(await caller.port('plain'));
    expect(status).toBe(200);
    expect(body).toMatch(new RegExp(`^called by By=${idOf('greeter')};Hash=[0-9a-f]{64};URI=${idOf('caller')}$`));
  });

  it('lets no other identity of the trust domain in', async () => {
    await using other = new WorkloadClient(agent.socket);
    expect(await (await StolenIdentity.of(other)).knock(port, 'TLSv1.3')).toMatchObject({ status: 403 });
  });

  it('ends connections in time, which costs no request', async () => {
    const entrance = await caller.port('plain');
    const over = 'http.mtls.downstream_cx_max_duration_reached';
    const statuses = new Set<number>();
    await eventually('some connections were ended', async () => {
      statuses.add((await ask(entrance)).status);
      return (await greeter.stat(over)) > 1 ? true : undefined;
    });
    expect([...statuses]).toEqual([200]);
  });
});
