import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

/** Where the rules, their tests and the dashboard are. */
export const MONITORING = join(import.meta.dirname, '..', '..', 'deploy', 'monitoring');

/** A rule of Prometheus that tells somebody. */
export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** What is expected of a rule at one moment, in a test of promtool. */
export interface AlertExpectation {
  readonly alertname: string;
  readonly eval_time: string;
  readonly exp_alerts: readonly { readonly exp_labels: Readonly<Record<string, string>> }[];
}

interface RuleFile {
  readonly groups: readonly { readonly rules: readonly AlertRule[] }[];
}

interface RuleTestFile {
  readonly tests: readonly { readonly alert_rule_test: readonly AlertExpectation[] }[];
}

export function alertRules(): readonly AlertRule[] {
  return (read('alerts.yaml') as RuleFile).groups.flatMap(({ rules }) => rules);
}

export function alertExpectations(): readonly AlertExpectation[] {
  return (read('alerts_test.yaml') as RuleTestFile).tests.flatMap(({ alert_rule_test: expectations }) => expectations);
}

function read(name: string): unknown {
  return parse(readFileSync(join(MONITORING, name), 'utf8'));
}
