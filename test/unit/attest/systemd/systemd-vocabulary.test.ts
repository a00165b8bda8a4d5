import { expect, it } from 'vitest';
import { systemdVocabulary } from '../../../../agent/attest/systemd/systemd-vocabulary.ts';
import { parseSelector } from '../../../../agent/kernel/selector.ts';

const ON = systemdVocabulary({ enabled: true });

it.each([
  'systemd:id:payments.service',
  'systemd:id:dev-disk-by\\x2duuid.swap',
  'systemd:id:getty@tty1.service',
  'systemd:id:session-3.scope',
  'systemd:fragment_path:/etc/systemd/system/payments.service',
  'systemd:user_unit:1000:notes.service',
])('%s may be said', (text) => {
  expect(ON.neverSaid(parseSelector(text))).toBeUndefined();
});

it.each([
  ['systemd:id:payments', "never matches: systemd:id takes a unit's whole name, such as payments.service"],
  ['systemd:id:daily.timer', "never matches: systemd:id takes a unit's whole name, such as payments.service"],
  [
    'systemd:fragment_path:payments.service',
    'never matches: systemd:fragment_path takes the absolute path of a unit file',
  ],
  [
    'systemd:user_unit:notes.service',
    "never matches: systemd:user_unit takes a uid and a unit of that user's manager, such as 1000:notes.service",
  ],
  ['systemd:unit:a.service', 'names nothing that systemd says; it says id, fragment_path, user_unit'],
  ['systemd:constructor:x', 'names nothing that systemd says; it says id, fragment_path, user_unit'],
])('%s never is', (text, sentence) => {
  expect(ON.neverSaid(parseSelector(text))).toBe(sentence);
});

it('says nothing while it is off, and says so', () => {
  expect(systemdVocabulary({ enabled: false }).neverSaid(parseSelector('systemd:id:payments.service'))).toBe(
    'never matches: attestors.systemd.enabled is false',
  );
});
