import type { Selector } from '../kernel/selector.ts';
import { isUnit } from './unit-cgroup.ts';
import type { SelectorName, Vocabulary } from './vocabulary.ts';

interface Word extends SelectorName {
  readonly allows: (value: string) => boolean;
  readonly allowed: string;
}

const WORDS: Readonly<Record<string, Word>> = {
  id: {
    values: 'one',
    example: 'payments.service',
    allows: isUnit,
    allowed: "a unit's whole name, such as payments.service",
  },
  fragment_path: {
    values: 'one',
    example: '/etc/systemd/system/payments.service',
    allows: (value) => /^\/./s.test(value),
    allowed: 'the absolute path of a unit file',
  },
  user_unit: {
    values: 'one',
    example: 'notes.service',
    key: ':',
    allows: (value) => /^(0|[1-9][0-9]{0,9}):/.test(value) && isUnit(value.slice(value.indexOf(':') + 1)),
    allowed: "a uid and a unit of that user's manager, such as 1000:notes.service",
  },
};

/** What the systemd attestor says. */
export function systemdVocabulary(says: { readonly enabled: boolean }): Vocabulary {
  return {
    types: ['systemd'],
    names: new Map([['systemd', new Map(Object.entries(WORDS))]]),
    neverSaid: (selector) => neverSaid(selector, says.enabled),
  };
}

function neverSaid(selector: Selector, enabled: boolean): string | undefined {
  if (!enabled) return 'never matches: attestors.systemd.enabled is false';
  const [, name = '', ...rest] = selector.split(':');
  const word = Object.hasOwn(WORDS, name) ? WORDS[name] : undefined;
  if (word === undefined) return `names nothing that systemd says; it says ${Object.keys(WORDS).join(', ')}`;
  return word.allows(rest.join(':')) ? undefined : `never matches: systemd:${name} takes ${word.allowed}`;
}
