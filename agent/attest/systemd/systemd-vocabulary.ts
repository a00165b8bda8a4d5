import type { Vocabulary } from '../vocabulary.ts';
import { vocabularyOfWords, type Word } from '../word.ts';
import { isUnit } from './unit-cgroup.ts';

const WORDS: Readonly<Record<string, Word>> = {
  id: {
    values: 'one',
    example: 'payments.service',
    value: { test: isUnit },
    allowed: "a unit's whole name, such as payments.service",
  },
  fragment_path: {
    values: 'one',
    example: '/etc/systemd/system/payments.service',
    value: /^\/./s,
    allowed: 'the absolute path of a unit file',
  },
  user_unit: {
    values: 'one',
    example: 'notes.service',
    key: ':',
    value: {
      test: (value) => /^(0|[1-9][0-9]{0,9}):/.test(value) && isUnit(value.slice(value.indexOf(':') + 1)),
    },
    allowed: "a uid and a unit of that user's manager, such as 1000:notes.service",
  },
};

/** What the systemd attestor says. */
export function systemdVocabulary({ enabled }: { readonly enabled: boolean }): Vocabulary {
  return vocabularyOfWords('systemd', WORDS, () => (enabled ? undefined : 'attestors.systemd.enabled is false'));
}
