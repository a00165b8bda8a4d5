import { array, assert, integer, property } from 'fast-check';
import { expect, it } from 'vitest';
import { PodItems } from '../../../../agent/attest/k8s/pod-items.ts';
import { podJson, podListJson, running } from '../../../support/pods.ts';

/** The items of a text that arrives in pieces of these lengths. */
function itemsOf(text: string | Buffer, lengths: readonly number[] = [Number.POSITIVE_INFINITY]): readonly string[] {
  const bytes = Buffer.from(text);
  const items: string[] = [];
  const reader = new PodItems((item) => items.push(Buffer.concat(item).toString()));
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const length = Math.min(lengths[turn % lengths.length] ?? 1, bytes.length - at);
    reader.push(bytes.subarray(at, at + length));
    at += length;
  }
  expect(reader.end()).toBe(items.length);
  return items;
}

const PODS = ['ä', 'b', 'c'].map((name) => podJson({ uid: name, name, containers: [running(name)], labels: { name } }));

it('a list comes out as its items, wherever it is cut', () => {
  const text = podListJson(PODS);
  expect(itemsOf(text)).toEqual(PODS);
  assert(
    property(array(integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 30 }), (lengths) => {
      expect(itemsOf(text, lengths)).toEqual(PODS);
    }),
  );
});

it('a list has items of any JSON in any order of keys, with or without spaces, or none', () => {
  const one = JSON.parse(PODS[0] ?? '') as unknown;
  const spaced = JSON.stringify({ items: [one, one], metadata: { a: ['}'] }, kind: 'PodList' }, undefined, 2);
  expect(itemsOf(spaced).map((item) => JSON.parse(item) as unknown)).toEqual([one, one]);
  expect(itemsOf(podListJson([]))).toEqual([]);
  expect(itemsOf('{"kind":"PodList","items":[]}')).toEqual([]);
});

it.each([
  ['', 'it is no JSON'],
  ['<html>', 'it is no JSON'],
  ['[{}]', 'it is no JSON'],
  ['{"kind":"PodList"}', 'its items are no list of pods'],
  ['{"kind":"PodList","items":{}}', 'its items are no list of pods'],
  ['{"kind":"PodList","items":[],"more":[{}]}', 'its items are no list of pods'],
  ['{"kind":"PodList","items":[{} {}]}', 'it is no JSON'],
  ['{"kind":"PodList","items":[{},]}', 'it is no JSON'],
  ['{"kind":"PodList","items":[{}]}}', 'it is no JSON'],
  ['{"kind":"PodList","items":[{}]}{}', 'it is no JSON'],
  ['{"kind":"PodList","items":[{}]', 'it ends in the middle'],
  ['{"kind":"PodList","items":[{"a":"', 'it ends in the middle'],
  ['{"kind":"PodLi', 'it ends in the middle'],
])('%s is no list', (text, message) => {
  expect(() => itemsOf(text)).toThrow(message);
});

it('what never ends is not kept', () => {
  const reader = new PodItems(() => undefined);
  const spaces = Buffer.alloc(16 * 1024, ' ');
  expect(() => {
    for (let count = 0; count < 5; count += 1) reader.push(spaces);
  }).toThrow('it is no list of pods');
});

it('an item that is too large is passed over, and those around it are not', () => {
  const taken: string[] = [];
  const reader = new PodItems((item) => taken.push(Buffer.concat(item).toString()));
  reader.push(Buffer.from('{"kind":"PodList","items":[{"a":1},{"a":"'));
  for (let count = 0; count < 5; count += 1) reader.push(Buffer.alloc(1024 ** 2, '<'));
  reader.push(Buffer.from('"},{"a":2}]}'));
  expect(reader.end()).toBe(3);
  expect([taken, reader.passedOver]).toEqual([['{"a":1}', '{"a":2}'], 1]);
});
