import { expect, it } from 'vitest';
import { NO_CONTEXT } from '../../../agent/attest/context.ts';
import { Latest } from '../../../agent/kernel/latest.ts';
import { Entitlement } from '../../../agent/registry/entitlement.ts';
import { EntryIndex } from '../../../agent/registry/entry-index.ts';
import type { EntrySet } from '../../../agent/registry/entry-set.ts';
import { livingInstance } from '../../support/instance.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLog } from '../../support/memory-log.ts';
import { entryOf, selectorsOf, templateOf } from './entries.ts';

const TEMPLATE = templateOf('id: cluster', 'spiffe_id: "spiffe://example.org/{{k8s.ns}}/{{k8s.pod-label:app}}"');

/** Entitlement to the template and to an entry for uid 1, of a process that is found to be of these selectors. */
function entitlementOf(...selectors: readonly string[]) {
  const instance = livingInstance();
  const attested = { instance, selectors: selectorsOf(...selectors), context: NO_CONTEXT };
  const entries = new Latest<EntrySet>();
  entries.set(new EntryIndex([TEMPLATE, entryOf('one', ['unix:uid:1'])]));
  const log = new MemoryLog();
  const clock = new ManualClock();
  const attesting = { current: () => attested, attest: () => Promise.resolve(attested) };
  return { clock, entitlement: new Entitlement({ attesting, entries, clock, log }), entries, instance, log };
}

it('refuses with the reason, and tells it once in the log and in status while nothing changes', async () => {
  const { entitlement, instance, log } = entitlementOf('k8s:ns:a', 'k8s:pod-label:app:x\ny/z');
  const why = /entry cluster: \{\{k8s\.pod-label:app\}\} is "x\\ny\/z"; in a SPIFFE ID it may be A-Z, a-z, 0-9/;
  for (let call = 0; call < 3; call += 1) {
    await expect(entitlement.of(instance)).rejects.toMatchObject({
      code: 'NO_IDENTITY',
      message: expect.stringMatching(why),
    });
  }
  expect(log.lines).toEqual([
    {
      level: 'warn',
      event: 'entries.value_refused',
      message: expect.stringMatching(why),
      fields: { instance: instance.key, entry: 'cluster', reason: 'unusable value' },
    },
  ]);
  expect(entitlement.shortcomings()).toEqual([
    expect.stringMatching(
      /^processes get nothing of a template, since a value does not fit where its placeholder stands \(once, last: "process \d+: entry cluster: /,
    ),
  ]);
});

it('gives the other entries, and tells of the template all the same', async () => {
  const { entitlement, instance, log } = entitlementOf('k8s:ns:a', 'k8s:ns:b', 'k8s:pod-label:app:x', 'unix:uid:1');
  const { entries } = await entitlement.of(instance);
  expect(entries.map(({ id }) => id)).toEqual(['one']);
  expect(log.lines.map(({ fields }) => fields['reason'])).toEqual(['several values']);
});

it('tells nothing of a process that lacks a value: the template is not meant for it', async () => {
  const { entitlement, instance, log } = entitlementOf('k8s:ns:a', 'unix:uid:2');
  await expect(entitlement.of(instance)).rejects.toMatchObject({
    code: 'NO_IDENTITY',
    message: `no entry matches process ${instance.pid} of uid 1000`,
  });
  expect(log.lines).toEqual([]);
  expect(entitlement.shortcomings()).toEqual([]);
});

it('looks again when entries change, also where there were none', async () => {
  const { entitlement, entries, instance } = entitlementOf('k8s:ns:a', 'unix:uid:2');
  expect(entitlement.current(instance)).toBeUndefined();
  entries.set(new EntryIndex([entryOf('two', ['unix:uid:2'])]));
  const entitled = entitlement.current(instance);
  expect(entitled?.entries.map(({ id }) => id)).toEqual(['two']);
  expect(await entitlement.of(instance)).toBe(entitled);
});
