import * as v from 'valibot';
import { expect, test } from 'vitest';
import { configKeys, configSections } from '../../../agent/config/keys.ts';
import { RESERVED_VARIABLES, readOverrides, variableOf } from '../../../agent/config/overrides.ts';
import { configSchema } from '../../../agent/config/schema.ts';

const parsed = v.parse(configSchema, { trust_domain: 'example.org' });

function leaves(value: unknown, above: string): readonly string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [above];
  return Object.entries(value).flatMap(([key, child]) => leaves(child, above === '' ? key : `${above}.${key}`));
}

test('every key of the schema has a note, and there are no others', () => {
  expect(configKeys.map(({ name }) => name)).toEqual(leaves(parsed, ''));
  expect(configKeys.length).toBeGreaterThan(25);
});

test('every note says what the key is for and what it takes', () => {
  for (const { name, says, form } of configKeys) {
    expect(says, name).toMatch(/^[A-Z].*\.$/);
    expect(form, name).not.toMatch(/^$|\.$/);
  }
});

test('only the trust domain has no default', () => {
  expect(configKeys.filter((key) => key.default === undefined).map(({ name }) => name)).toEqual(['trust_domain']);
});

test('each key has a variable of its own, none of them reserved or taken for one of a Kubernetes service', () => {
  const variables = configKeys.map(variableOf);
  expect(new Set(variables).size).toBe(variables.length);
  expect(variables.filter((variable) => RESERVED_VARIABLES.includes(variable))).toEqual([]);
  const { overrides, problems } = readOverrides(Object.fromEntries(variables.map((variable) => [variable, 'x'])), {});
  const lists = configKeys.filter(({ takes }) => takes === 'list').map(variableOf);
  expect(problems.map(({ source }) => source).toSorted()).toEqual(lists.toSorted());
  expect(overrides.map(({ source }) => source).toSorted()).toEqual(
    variables.filter((each) => !lists.includes(each)).toSorted(),
  );
});

test('the sections are what keys stand in', () => {
  expect(configSections).toEqual([
    'authority',
    'attestors',
    'attestors.unix',
    'attestors.docker',
    'attestors.podman',
    'attestors.k8s',
    'attestors.systemd',
    'defaults',
    'policy',
    'wit',
    'revocation',
    'sds',
    'ledger',
    'peer',
    'metrics',
  ]);
});
