import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { configKeys } from '../../../agent/config/keys.ts';
import { DASHBOARD_FILE, dashboard, dashboardText } from '../../../deploy/monitoring/dashboard.ts';
import { METRICS } from '../../check/metrics-reference.ts';
import { alertExpectations, alertRules, MONITORING } from '../../support/monitoring.ts';
import { groupingsIn, selectorsIn } from '../../support/promql.ts';

const families = new Map(METRICS.flatMap((group) => Object.entries(group.families)));
const OF_PROMETHEUS = ['job', 'instance'];
const rules = alertRules();
const queries = (dashboard().panels ?? []).flatMap((panel) =>
  'targets' in panel ? (panel.targets ?? []).map(({ expr }) => ({ title: panel.title ?? '', expr: String(expr) })) : [],
);

/** The family of a metric by the name that a query has for it: histograms are asked by their parts. */
function familyOf(metric: string) {
  const exact = families.get(metric);
  if (exact !== undefined) return exact.type === 'histogram' ? undefined : exact;
  const histogram = families.get(metric.replace(/_(bucket|sum|count)$/, ''));
  return histogram?.type === 'histogram' ? histogram : undefined;
}

/** What is wrong with a query: it would be empty for ever, and nobody would notice. */
function defects(query: string): readonly string[] {
  const selectors = selectorsIn(query);
  const ofFamilies = selectors.flatMap(({ matchers, metric, text }) => {
    if (metric === 'up') return [];
    const family = familyOf(metric);
    if (family === undefined) return [`there is no ${metric}`];
    return matchers
      .filter(({ label }) => ![...family.labels, ...OF_PROMETHEUS].includes(label))
      .map(({ label }) => `${text}: no label ${label}`);
  });
  const labels = new Set(selectors.flatMap(({ metric }) => familyOf(metric)?.labels ?? []));
  const known = new Set([...OF_PROMETHEUS, ...labels, ...(query.includes('_bucket') ? ['le'] : [])]);
  const grouped = groupingsIn(query).filter((label) => !known.has(label));
  return [...ofFamilies, ...grouped.map((label) => `nothing in it has a label ${label}`)];
}

test('a query for what does not exist is noticed', () => {
  expect(defects('mayfly_nothing')).toEqual(['there is no mayfly_nothing']);
  expect(defects('mayfly_leases{reason="x"}')).toEqual(['mayfly_leases{reason="x"}: no label reason']);
  expect(defects('sum by (kind) (mayfly_leases)')).toEqual(['nothing in it has a label kind']);
  expect(defects('mayfly_svid_issue_duration_seconds')).toEqual(['there is no mayfly_svid_issue_duration_seconds']);
});

describe('alerts', () => {
  test('are many, and none is there twice', () => {
    expect(rules.length).toBeGreaterThan(30);
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
  });

  test.each(rules.map((rule) => [rule.alert, rule] as const))(
    '%s asks for what there is, and says what to do',
    (_, rule) => {
      expect(rule.alert).toMatch(/^Mayfly[A-Z][A-Za-z]+$/);
      expect(selectorsIn(rule.expr).length).toBeGreaterThan(0);
      expect(defects(rule.expr)).toEqual([]);
      // What every program has is asked of agents alone.
      for (const { matchers, metric } of selectorsIn(rule.expr)) {
        if (/^(up|process_(start|open))/.test(metric)) expect(matchers.map(({ label }) => label)).toContain('job');
      }
      expect(Object.keys(rule.labels)).toEqual(['severity']);
      expect(['critical', 'warning']).toContain(rule.labels['severity']);
      expect(Object.keys(rule.annotations)).toEqual(['summary', 'action']);
      for (const text of Object.values(rule.annotations)) expect(text).toMatch(/^.*\.$/);
    },
  );

  test.each(rules.map(({ alert }) => alert))('%s has a test of when it is told, and of when it is not yet', (alert) => {
    const expected = alertExpectations().filter(({ alertname }) => alertname === alert);
    expect(expected.some(({ exp_alerts: told }) => told.length > 0)).toBe(true);
    expect(expected.some(({ exp_alerts: told }) => told.length === 0)).toBe(true);
  });

  test('name keys of the configuration as they are', () => {
    const keys = configKeys.map(({ path }) => path.join('.'));
    const sections = new Set(keys.map((key) => key.split('.')[0]));
    const named = rules.flatMap(({ annotations }) => [
      ...`${annotations['action']}`.matchAll(/(?<!docs\/)\b([a-z]+)\.[a-z_]+\b/g),
    ]);
    const ofConfiguration = named.filter(([, section = '']) => sections.has(section)).map(([key]) => key);
    const events = new Set(['revocation.not_given_out', 'authority.rotation_failed', 'peer.refused']);
    expect(ofConfiguration.filter((key) => !keys.includes(key) && !events.has(key))).toEqual([]);
    expect(ofConfiguration.length).toBeGreaterThan(5);
  });
});

test('the job that the chart makes of a release is one that alerts ask for, whatever the release is called', () => {
  const template = (name: string) => readFileSync(join(MONITORING, '../kubernetes/chart/templates', name), 'utf8');
  const [, label = ''] = /^ {2}jobLabel: (\S+)$/m.exec(template('pod-monitor.yaml')) ?? [];
  const [, job = ''] = new RegExp(`^${RegExp.escape(label)}: (\\S+)$`, 'm').exec(template('_names.tpl')) ?? [];
  const down = rules.find(({ alert }) => alert === 'MayflyDown')?.expr ?? '';
  const [, pattern = ''] = /job=~"([^"]+)"/.exec(down) ?? [];
  expect(job).toMatch(new RegExp(`^(${pattern})$`));
  expect(job).not.toBe('');
});

describe('the dashboard', () => {
  test('is what is made of its description: run node deploy/monitoring/dashboard.ts', () => {
    expect(readFileSync(DASHBOARD_FILE, 'utf8')).toBe(dashboardText());
  });

  test.each(queries)('asks in "$title" for what there is: $expr', ({ expr }) => {
    expect(selectorsIn(expr).length).toBeGreaterThan(0);
    expect(defects(expr)).toEqual([]);
    expect(expr).not.toContain('$S');
    for (const { matchers } of selectorsIn(expr)) {
      expect(matchers.map(({ label }) => label)).toEqual(expect.arrayContaining(OF_PROMETHEUS));
    }
  });

  test('shows every metric', () => {
    const shown = new Set(queries.flatMap(({ expr }) => selectorsIn(expr).map(({ metric }) => metric)));
    const missing = [...families].filter(
      ([name, { type }]) => !shown.has(type === 'histogram' ? `${name}_bucket` : name),
    );
    expect(missing.map(([name]) => name)).toEqual([]);
  });

  test('has its panels beside one another, each with an id of its own', () => {
    const all = dashboard().panels ?? [];
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
    const taken = new Set<string>();
    for (const { gridPos = { x: -1, y: -1, w: 1, h: 1 }, title } of all) {
      const { h, w, x, y } = gridPos;
      expect(x, title).toBeGreaterThanOrEqual(0);
      expect(x + w, title).toBeLessThanOrEqual(24);
      for (let column = x; column < x + w; column += 1) {
        for (let row = y; row < y + h; row += 1) {
          expect(taken.has(`${column} ${row}`), title).toBe(false);
          taken.add(`${column} ${row}`);
        }
      }
    }
  });
});
