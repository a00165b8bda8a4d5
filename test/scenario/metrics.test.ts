import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SecretDiscoveryService } from '../../agent/gen/envoy/service/secret/v3/sds_pb.js';
import { METRICS } from '../check/metrics-reference.ts';
import { Daemon, mayfly, refusal, sentence } from '../support/daemon.ts';
import { GrpcCaller } from '../support/grpc-caller.ts';
import { Home, ownEntry } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { getPage, Scraped } from '../support/scrape.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const OWN = ownEntry('own', ['audiences: [ reports ]', 'x509_svid_ttl: 6s']);
const home = new Home({ 'own.yaml': OWN });
const socket = home.path('metrics.sock');
const SOCKET = `metrics: { listen: ${socket}, mode: "0640" }`;
home.configure(SOCKET);
let daemon: Daemon;

beforeAll(async () => {
  daemon = await Daemon.start(home);
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  home.remove();
});

type Labels = Readonly<Record<string, string>>;

const now = () => Scraped.of(socket);

/** Does something, and waits until a figure is more by `by` than it was before. */
async function moves<T>(name: string, labels: Labels, by: number, act: () => Promise<T>): Promise<T> {
  const before = (await now()).value(name, labels) ?? 0;
  const result = await act();
  await eventually(`${name} ${JSON.stringify(labels)} is ${before + by}`, async () =>
    (await now()).value(name, labels) === before + by ? true : undefined,
  );
  return result;
}

/** Waits until a figure is `wanted`. */
function becomes(wanted: number, name: string, labels: Labels = {}): Promise<unknown> {
  return eventually(`${name} ${JSON.stringify(labels)} is ${wanted}`, async () =>
    (await now()).value(name, labels) === wanted ? true : undefined,
  );
}

describe('the metrics of an agent', () => {
  test('are those of the reference, each with its help and its type', async () => {
    const scraped = await now();
    const families = METRICS.flatMap((group) => Object.entries(group.families));
    expect(scraped.names.toSorted()).toEqual(families.map(([name]) => name).toSorted());
    for (const [name, { type }] of families) expect(scraped.types.get(name), name).toBe(type);
    expect(scraped.value('mayfly_ready')).toBe(1);
    expect(scraped.value('mayfly_entries')).toBe(1);
    expect(scraped.value('mayfly_leases', { entry: 'own' })).toBe(0);
    expect(scraped.value('mayfly_svids_refused_total', { entry: '(none)', kind: 'x509', reason: 'no_entry' })).toBe(0);
    expect(scraped.value('process_start_time_seconds')).toBeGreaterThan(Date.now() / 1000 - 60);
    expect(scraped.value('mayfly_data_dir_available_bytes')).toBeGreaterThan(0);
    expect(scraped.value('mayfly_ledger_outage_start_timestamp_seconds')).toBeUndefined();
    expect(statSync(socket).mode & 0o777).toBe(0o640);
  });

  test('move with an issuance, its stream, its renewal, and the death of its process', async () => {
    await using watcher = new WorkloadClient(home.socket);
    await watcher.tell('bundles', 'bundles');
    await using workload = new WorkloadClient(home.socket);
    const issued = { entry: 'own', kind: 'x509', occasion: 'first' };
    await moves('mayfly_svids_issued_total', issued, 1, () => workload.x509());
    const held = await now();
    expect(held.value('mayfly_leases', { entry: 'own' })).toBe(1);
    expect(held.value('mayfly_streams', { method: 'FetchX509SVID' })).toBe(1);
    expect(held.value('mayfly_streams', { method: 'FetchX509Bundles' })).toBe(1);
    expect(held.value('mayfly_connections')).toBe(2);
    expect(held.value('mayfly_processes')).toBe(2);
    expect(held.value('mayfly_svids_followed', { kind: 'x509' })).toBe(1);
    expect(held.value('mayfly_attestation_duration_seconds_count', { attestor: 'unix' })).toBeGreaterThan(1);
    expect(held.value('mayfly_svid_issue_duration_seconds_count', { kind: 'x509' })).toBe(1);
    expect(held.value('mayfly_ledger_flush_duration_seconds_count', { stream: 'issuance' })).toBeGreaterThan(0);
    expect(held.value('mayfly_svid_next_expiry_timestamp_seconds', { kind: 'x509' })).toBeGreaterThan(
      Date.now() / 1000,
    );
    expect(held.value('mayfly_svid_lifetime_left_ratio', { kind: 'x509' })).toBeGreaterThan(0.4);
    expect(held.value('mayfly_svid_renewal_overdue_seconds', { kind: 'x509' })).toBeLessThan(1);

    const late = { kind: 'x509' };
    await moves('mayfly_svid_renewal_lateness_seconds_count', late, 1, () =>
      workload.update(
        ({ serial }, first = workload.said.all.find(({ event }) => event === 'x509')) =>
          first?.event === 'x509' && first.serial !== serial,
        'the renewal',
      ),
    );
    const renewed = await now();
    expect(renewed.value('mayfly_svids_issued_total', { ...issued, occasion: 'renewal' })).toBe(1);
    expect(renewed.value('mayfly_svid_renewal_lateness_seconds_bucket', { ...late, le: '2.5' })).toBe(1);
    const messages = { service: 'SpiffeWorkloadAPI', method: 'FetchX509SVID' };
    expect(renewed.value('mayfly_stream_messages_total', messages)).toBeGreaterThan(1);

    const exited = { kind: 'x509', reason: 'cessationOfOperation' };
    const delays = renewed.value('mayfly_revocation_delay_seconds_count') ?? 0;
    // The one that it was given at first has not expired either.
    await moves('mayfly_revocations_total', exited, 2, () => {
      workload.kill();
      return Promise.resolve();
    });
    await becomes(0, 'mayfly_revocation_waiting_seconds');
    const over = await now();
    expect(over.value('mayfly_leases', { entry: 'own' })).toBe(0);
    expect(over.value('mayfly_leases_ended_total', { reason: 'exited' })).toBe(1);
    expect(over.value('mayfly_crl_certificates')).toBe(2);
    expect(over.value('mayfly_revocation_delay_seconds_count')).toBeGreaterThan(delays);
    expect(over.value('mayfly_crl_size_bytes')).toBeGreaterThan(held.value('mayfly_crl_size_bytes') ?? 0);
    // Either the agent learns first that the process has ended, or that its connection has.
    const ends = ['PERMISSION_DENIED', 'CANCELLED'].map((code) =>
      over.value('mayfly_calls_total', { ...messages, code }),
    );
    expect(ends.filter((count) => count !== undefined)).toEqual([1]);
  });

  test('move with a token, its refusal, and what an operator revokes', async () => {
    await using workload = new WorkloadClient(home.socket);
    const token = { entry: 'own', kind: 'jwt' };
    await moves('mayfly_svids_issued_total', { ...token, occasion: 'on-demand' }, 1, () =>
      workload.tell('jwt reports', 'jwt'),
    );
    await becomes(1, 'mayfly_tokens_outstanding');
    await moves('mayfly_svids_refused_total', { ...token, reason: 'audiences' }, 1, () =>
      workload.tell('jwt somebody-else', 'refused'),
    );
    await moves('mayfly_revocations_total', { kind: 'jwt', reason: 'keyCompromise' }, 1, () =>
      mayfly(['--admin-socket', home.adminSocket, 'revoke', '--pid', String(workload.pid), '--reason', 'a test']),
    );
    await becomes(1, 'mayfly_leases_ended_total', { reason: 'revoked' });
    await becomes(1, 'mayfly_denylist_tokens');
    await becomes(1, 'mayfly_reissue_barred');
    await moves('mayfly_svids_refused_total', { ...token, reason: 'reissue_barred' }, 1, () =>
      workload.tell('jwt reports', 'refused'),
    );
    expect(
      (await now()).value('mayfly_calls_total', { service: 'mayfly.admin.v1.Admin', method: 'Revoke', code: 'OK' }),
    ).toBe(1);
  });

  test('move with proxies, and with connections that ask for nothing that there is', async () => {
    const proxy = new GrpcCaller(home.socket);
    const typeUrl = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
    const stream = proxy.duplex(SecretDiscoveryService.method.streamSecrets, ({ nonce, versionInfo }) => {
      stream.send({ typeUrl, resourceNames: ['ROOTCA'], versionInfo, responseNonce: nonce });
    });
    await moves('mayfly_sds_responses_total', { outcome: 'accepted' }, 1, () => {
      stream.send({ typeUrl, resourceNames: ['ROOTCA'] });
      return Promise.resolve();
    });
    expect((await now()).value('mayfly_streams', { method: 'StreamSecrets' })).toBe(1);
    const refusing = proxy.duplex(SecretDiscoveryService.method.streamSecrets, ({ nonce }) => {
      const errorDetail = { code: 13, message: 'a proxy that will not' };
      refusing.send({ typeUrl, resourceNames: ['ROOTCA'], responseNonce: nonce, errorDetail });
    });
    await moves('mayfly_sds_responses_total', { outcome: 'rejected' }, 1, () => {
      refusing.send({ typeUrl, resourceNames: ['ROOTCA'] });
      return Promise.resolve();
    });
    stream.cancel();
    refusing.cancel();
    proxy.close();
    await becomes(0, 'mayfly_streams', { method: 'StreamSecrets' });
    await moves('mayfly_peer_refusals_total', { reason: 'first-request' }, 1, async () => {
      const noise = connect(home.socket);
      noise.on('error', () => undefined).end('GET / HTTP/1.1\r\n\r\n');
      noise.resume();
      await once(noise, 'close');
    });
    await moves('mayfly_http_requests_total', { path: 'other', code: '404' }, 1, () => getPage(socket, '/nothing'));
  });

  test('move with a reload that fails, which leaves the agent ready', async () => {
    const entries = { source: 'entries' };
    await moves('mayfly_reload_failures_total', entries, 1, async () => {
      const mark = daemon.log.mark;
      home.replace('entries/own.yaml', 'entries: 1\n');
      await daemon.logged('entries.reload_failed', mark);
    });
    const failing = await now();
    expect(failing.value('mayfly_reload_failing', entries)).toBe(1);
    expect(failing.value('mayfly_reload_failing', { source: 'config' })).toBe(0);
    expect(failing.value('mayfly_healthy', { part: 'entries' })).toBe(0);
    expect(failing.value('mayfly_ready')).toBe(1);
    expect(await getPage(socket, '/readyz')).toMatchObject({ status: 200, body: 'ready\n' });
    home.replace(
      'entries/own.yaml',
      `${OWN}  - id: more\n    spiffe_id: spiffe://example.org/more\n    selectors: [ "unix:uid:4294967294" ]\n`,
    );
    await becomes(0, 'mayfly_reload_failing', entries);
    await becomes(2, 'mayfly_entries');
    expect((await now()).value('mayfly_leases', { entry: 'more' })).toBe(0);

    await using workload = new WorkloadClient(home.socket);
    await workload.x509();
    home.replace('entries/own.yaml', 'entries: []\n');
    await becomes(1, 'mayfly_leases_ended_total', { reason: 'entry-removed' });
    await moves('mayfly_svids_refused_total', { entry: '(none)', kind: 'jwt', reason: 'no_entry' }, 1, () =>
      workload.tell('jwt reports', 'refused'),
    );
  });

  test('tell nothing that a caller wrote, nor who he is', async () => {
    await using workload = new WorkloadClient(home.socket);
    await workload.tell('jwt audience-of-a-caller', 'refused');
    const { text } = await now();
    expect(text).not.toContain('audience-of-a-caller');
    expect(text).not.toContain('spiffe://');
    expect(text).not.toMatch(new RegExp(`="[^"]*\\b${workload.pid}\\b`));
    expect(text.split('\n').length).toBeLessThan(700);
  });
});

test('probes are answered until the agent is gone, and its socket with it', async () => {
  expect(await getPage(socket, '/healthz')).toMatchObject({ status: 200, body: 'ok\n' });
  expect(await getPage(socket, '/')).toMatchObject({ status: 404, body: 'there are /metrics, /healthz, /readyz\n' });
  await daemon.stop();
  expect(existsSync(socket)).toBe(false);
});

test('an agent that is not told to listens nowhere, and one on a taken port does not start', async () => {
  home.configure('');
  await using quiet = await Daemon.start(home);
  expect(await quiet.logged('agent.started')).toMatchObject({ metrics: 'off' });
  await quiet.stop();

  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  home.configure(`metrics: { listen: 127.0.0.1:${port} }`);
  const { code, stderr } = await refusal(home);
  expect(sentence(stderr)).toBe(`another process listens on 127.0.0.1:${port}; stop it, or change metrics.listen`);
  expect(code).toBe(1);
  taken.close();
  await once(taken, 'close');
  await using daemonOnPort = await Daemon.start(home);
  expect(await getPage(port, '/readyz')).toMatchObject({ status: 200 });
  expect((await Scraped.of(port)).value('mayfly_ready')).toBe(1);
  expect((await daemonOnPort.status()).warnings.join()).not.toContain('without a password');
  await daemonOnPort.stop();

  home.configure(`metrics: { listen: "0.0.0.0:${port}", allow_remote: true }`);
  await using open = await Daemon.start(home);
  expect(await open.logged('monitor.remote')).toMatchObject({ level: 'warn' });
  expect((await open.status()).warnings.join()).toContain(`without a password by whoever reaches 0.0.0.0:${port}`);
  expect(await getPage(port, '/readyz')).toMatchObject({ status: 200 });
  await open.stop();
});
