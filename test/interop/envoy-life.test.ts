import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import { expect, inject, it } from 'vitest';
import { mayfly } from '../support/daemon.ts';
import { eventually } from '../support/json-lines.ts';
import { Agent, entry } from './agent.ts';
import { envoyProxy } from './consumers.ts';
import { Envoy } from './envoy.ts';
import { answer, bootstrap, listener } from './envoy-config.ts';
import { API, EnvoyPair, idOf, WEB } from './envoy-pair.ts';
import { commandOf, equipped, ROOT } from './equipment.ts';
import { cell, evidence } from './evidence/evidence.ts';

const { curl, envoy } = inject('equipment');
const run = promisify(execFile);

const api = entry('api', {}, API.uid);
const web = entry('web', {}, WEB.uid);

equipped('an agent and its Envoys', [envoy, ROOT], () => {
  for (const variant of ['GRPC', 'DELTA_GRPC'] as const) {
    it(
      `withdraws an identity, and gives it anew (${variant})`,
      evidence(cell(envoyProxy, 'withdrawal', 'keeps what it has, and its peers refuse it')),
      async () => {
        await using agent = await Agent.start([api, web]);
        await using pair = await EnvoyPair.start(envoy, agent, variant);
        const before = await pair.web.serials();

        agent.setEntries([api]);
        // It goes on with what it had, which nobody takes any more.
        await eventually(
          'its peer refuses it',
          async () => ((await pair.ask()).status === 503 ? true : undefined),
          1000,
        );
        expect(await pair.web.serials()).toEqual(before);
        expect(await pair.api.stat('listener.mtls.ssl.fail_verify_error')).toBeGreaterThan(0);

        agent.setEntries([api, web]);
        await eventually('it is back', async () => ((await pair.ask()).status === 200 ? true : undefined));
        expect(await pair.web.serials()).not.toEqual(before);
      },
    );

    it(`lets an Envoy wait that comes before its entry (${variant})`, evidence(cell(envoyProxy, 'late')), async () => {
      await using agent = await Agent.start([web]);
      const identity = { certificate: idOf('api'), peers: 'ROOTCA', variant };
      const server = listener('mtls', answer('hello'), identity);
      await using early = Envoy.launch(envoy, bootstrap(agent.socket, { listeners: [server] }), API);
      await eventually('it was refused', () =>
        early.log.includes(`closed: ${status.PERMISSION_DENIED}`) ? true : undefined,
      );
      expect(await early.get('/ready')).toBe('INITIALIZING\n');

      agent.setEntries([api, web]);
      await early.ready();
      expect(await early.serials()).toHaveLength(1);
    });

    it(`shows what an Envoy would not take (${variant})`, async () => {
      await using agent = await Agent.start([api, web]);
      // Keys of peers where its own should be.
      const identity = { certificate: 'ROOTCA', peers: 'ROOTCA', variant };
      const server = listener('mtls', answer('hello'), identity);
      await using wrong = Envoy.launch(envoy, bootstrap(agent.socket, { listeners: [server] }), API);
      const reason = 'Failed to load incomplete private key from path: ';
      const { sds } = await eventually('it is in the status', async () => {
        const seen = await statusOf(agent);
        return seen.sds.rejected > 0 ? seen : undefined;
      });
      expect(sds.last_rejection).toMatchObject({ node: 'envoy-1', pid: wrong.pid, names: ['ROOTCA'], reason });
      expect((await mayfly(['status', '--socket', agent.socket])).stdout).toMatch(
        /REJECTED\n.*node envoy-1, process \d+: ROOTCA: Failed to load incomplete private key/,
      );
    });
  }

  it('is found at a second socket, as Istio’s is', async () => {
    const config = "sockets: [ { path: istio/workload-spiffe-uds/socket, mode: '0777' } ]";
    await using agent = await Agent.start([api, web], config);
    const socket = agent.path('istio/workload-spiffe-uds/socket');
    await using pair = await EnvoyPair.start(envoy, agent, 'GRPC', { socket });
    expect(await pair.ask()).toMatchObject({ status: 200, peer: idOf('web') });
  });

  it('is not put off by a cluster’s name that is no host', async () => {
    await using agent = await Agent.start([api, web]);
    const identity = { authority: 'outbound|15012||mayfly.example@system' };
    await using pair = await EnvoyPair.start(envoy, agent, 'GRPC', { identity });
    expect(await pair.ask()).toMatchObject({ status: 200, peer: idOf('web') });
  });
});

equipped('curl', [curl, envoy, ROOT], () => {
  it('speaks to a service through two Envoys, and knows of no certificate', async () => {
    await using agent = await Agent.start([api, web]);
    await using pair = await EnvoyPair.start(envoy, agent, 'GRPC');
    const url = `http://127.0.0.1:${pair.entrance}/`;
    const { stdout } = await run(commandOf(curl)[0], ['--silent', '--show-error', '--fail', '--include', url]);
    expect(stdout).toContain('HTTP/1.1 200 OK');
    expect(stdout).toContain(`x-peer: ${idOf('web')}`);
    expect(stdout).toMatch(/hello$/);
    await expect(
      run(commandOf(curl)[0], ['--silent', '--insecure', `https://127.0.0.1:${pair.port}/`]),
    ).rejects.toMatchObject({ stdout: '' });
  });
});

interface Status {
  readonly sds: { readonly rejected: number; readonly last_rejection?: unknown };
}

async function statusOf(agent: Agent): Promise<Status> {
  return JSON.parse((await mayfly(['status', '--json', '--socket', agent.socket])).stdout) as Status;
}
