import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { dashboard } from '../../../deploy/monitoring/dashboard.ts';
import { Daemon, mayfly } from '../../support/daemon.ts';
import { freePort } from '../../support/free-port.ts';
import { Home, ownEntry } from '../../support/home.ts';
import { eventually } from '../../support/json-lines.ts';
import { alertRules } from '../../support/monitoring.ts';
import { type Selector, selectorsIn } from '../../support/promql.ts';
import { getPage } from '../../support/scrape.ts';
import { WorkloadClient } from '../../support/workload-client.ts';
import { equipped } from '../equipment.ts';
import { prometheusPrograms } from '../toolchains.ts';
import { Prometheus, promtool } from './prometheus.ts';

const FEDERATED = join(import.meta.dirname, '..', '..', 'vectors', 'bundle', 'valid-of-other-org.json');

/** What a healthy agent has no series of. */
const OF_FAILURES = /^(mayfly_ledger_outage_start_timestamp_seconds|mayfly_svids_failed_total)$/;

const rules = alertRules();

equipped('Prometheus with an agent', [await prometheusPrograms()], () => {
  const home = new Home(
    { 'own.yaml': ownEntry('own', ['audiences: [ reports ]', 'x509_svid_ttl: 6s']) },
    'bundles: [ { trust_domain: other.org, file: federated.json } ]',
  );
  let daemon: Daemon;
  let prometheus: Prometheus;
  let port: number;

  beforeAll(async () => {
    home.write('federated.json', readFileSync(FEDERATED, 'utf8'));
    port = await freePort();
    const args = ['--set', `metrics.listen=127.0.0.1:${port}`];
    daemon = await Daemon.start(home, { args });
    prometheus = await Prometheus.start(`127.0.0.1:${port}`);
  });
  afterAll(async () => {
    await prometheus[Symbol.asyncDispose]();
    await daemon[Symbol.asyncDispose]();
    home.remove();
  });

  /** Waits for a query to have an answer that is not empty. */
  const answered = (expr: string) =>
    eventually(expr, async () => {
      const series = await prometheus.query(expr);
      return series.length > 0 ? series : undefined;
    });

  /** Waits for a rule to be in a state. */
  const becomes = (alert: string, state: string) =>
    eventually(`${alert} is ${state}`, async () =>
      (await prometheus.rules()).some((rule) => rule.name === alert && rule.state === state) ? true : undefined,
    );

  it('has nothing to say against what is exposed', async () => {
    const { body } = await getPage(port, '/metrics');
    expect(promtool(['check', 'metrics'], body)).toEqual({ code: 0, output: '' });
    // What is checked can fail.
    expect(promtool(['check', 'metrics'], body.replaceAll('_total', '_sum')).code).not.toBe(0);
  });

  it('has an answer to every query of the dashboard and of the rules', async () => {
    await using workload = new WorkloadClient(home.socket);
    await workload.x509();
    await workload.tell('jwt reports', 'jwt');
    await workload.tell('jwt somebody-else', 'refused');
    await workload.update(
      ({ serial }, first = workload.said.all.find(({ event }) => event === 'x509')) =>
        first?.event === 'x509' && first.serial !== serial,
      'the renewal',
    );
    await answered('up{job="mayfly"} == 1');
    await answered('mayfly_svids_issued_total{occasion="renewal"} > 0');

    const panels = (dashboard().panels ?? []).flatMap((panel) => ('targets' in panel ? (panel.targets ?? []) : []));
    const shown = panels.map(({ expr }) =>
      String(expr)
        .replaceAll('"$job"', '"mayfly"')
        .replaceAll('"$instance"', '".+"')
        .replaceAll('$__rate_interval', '1m'),
    );
    expect(shown.length).toBeGreaterThan(60);
    for (const expr of shown) await prometheus.query(expr);

    const empty: string[] = [];
    const selectors = new Map<string, Selector>(
      [...shown, ...rules.map(({ expr }) => expr)].flatMap(selectorsIn).map((selector) => [selector.text, selector]),
    );
    for (const { metric, text } of selectors.values()) {
      if (!OF_FAILURES.test(metric) && (await prometheus.query(text)).length === 0) empty.push(text);
    }
    expect(empty).toEqual([]);
  });

  it('has every rule in force, and tells of nothing while all is well', async () => {
    await eventually('every rule was looked at', async () =>
      (await prometheus.rules()).every(({ health }) => health === 'ok') ? true : undefined,
    );
    const loaded = await prometheus.rules();
    expect(loaded.map(({ name }) => name)).toEqual(rules.map(({ alert }) => alert));
    // A refusal was asked for, and what others write to the same disk is not the agent's.
    const expected = new Set(['MayflyPolicyRefuses', 'MayflyDataDirFilling']);
    // That no agent is watched holds until the rules are looked at once more after the first scrape.
    await eventually('nothing else is told', async () => {
      const told = (await prometheus.rules()).filter(({ state }) => state !== 'inactive');
      return told.every(({ name }) => expected.has(name)) ? true : undefined;
    });
  });

  it('notices what goes wrong, and that it is over', async () => {
    home.replace('entries/own.yaml', 'entries: 1\n');
    await becomes('MayflyReloadFailing', 'pending');
    home.replace('entries/own.yaml', ownEntry('own', ['audiences: [ reports ]', 'x509_svid_ttl: 6s']));
    await becomes('MayflyReloadFailing', 'inactive');
    await daemon.stop();
    await becomes('MayflyDown', 'pending');
  });

  it('has nothing to say against what is exposed at a socket, whatever happened', async () => {
    const home = new Home();
    const socket = home.path('metrics.sock');
    await using daemon = await Daemon.start(home, { args: ['--set', `metrics.listen=${socket}`] });
    await using workload = new WorkloadClient(home.socket);
    await workload.x509();
    await mayfly(['--admin-socket', home.adminSocket, 'revoke', '--pid', String(workload.pid), '--reason', 'a test']);
    await workload.tell('jwt reports', 'refused');
    const { body } = await getPage(socket, '/metrics');
    expect(body).toContain('reason="reissue_barred"');
    expect(promtool(['check', 'metrics'], body)).toEqual({ code: 0, output: '' });
    await daemon.stop();
    home.remove();
  });
});
