import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type AlertRule, alertRules, MONITORING } from '../../support/monitoring.ts';
import { equipped } from '../equipment.ts';
import { prometheusPrograms } from '../toolchains.ts';
import { promtool } from './prometheus.ts';

const rules = alertRules();

equipped('the rules, in promtool,', [await prometheusPrograms()], () => {
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'mayfly-rules-'));
    copyFileSync(join(MONITORING, 'alerts_test.yaml'), join(directory, 'alerts_test.yaml'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  /** The alerts whose tests fail with other rules. */
  function failing(changed: readonly AlertRule[]): readonly string[] {
    writeFileSync(join(directory, 'alerts.yaml'), stringify({ groups: [{ name: 'mayfly', rules: changed }] }));
    const { code, output } = promtool(['test', 'rules', join(directory, 'alerts_test.yaml')]);
    const names = [...output.matchAll(/alertname: ?(Mayfly\w+), time/g)].map(([, name = '']) => name);
    expect(code === 0).toBe(names.length === 0);
    return [...new Set(names)].toSorted((a, b) => a.localeCompare(b));
  }

  const named = (those: readonly AlertRule[]) => those.map(({ alert }) => alert).toSorted((a, b) => a.localeCompare(b));

  it('are well formed, and pass their tests', () => {
    expect(promtool(['check', 'rules', 'alerts.yaml'])).toMatchObject({ code: 0 });
    expect(promtool(['test', 'rules', 'alerts_test.yaml'])).toMatchObject({ code: 0 });
  });

  it('are tested such that each one that is missing is noticed', () => {
    expect(failing(rules)).toEqual([]);
    expect(failing([])).toEqual(named(rules));
  });

  it('are tested such that each is noticed that tells before its time', () => {
    const patient = rules.filter((rule) => rule.for !== undefined);
    expect(patient.length).toBeGreaterThan(rules.length / 2);
    expect(failing(rules.map((rule) => ({ ...rule, for: '0s' })))).toEqual(named(patient));
  });

  it('are tested such that each is noticed that tells of everything', () => {
    // Whatever is compared with a bound, now without it.
    const bound = / [<>=]=? -?[\d.]+$/;
    const bounded = rules.filter(({ expr }) => bound.test(expr));
    expect(bounded.length).toBeGreaterThan(rules.length / 2);
    const noticed = failing(rules.map((rule) => ({ ...rule, expr: rule.expr.replace(bound, ' > -1e12') })));
    expect(named(bounded).filter((alert) => !noticed.includes(alert))).toEqual([]);
  });
});
