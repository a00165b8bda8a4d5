import { expect, test } from 'vitest';
import type { Holdable } from '../../../../agent/serve/sds/secrets.ts';
import { Subscription } from '../../../../agent/serve/sds/subscription.ts';
import type { Validator } from '../../../../agent/serve/sds/validation-context.ts';
import { ownBundle } from '../../../support/own-bundle.ts';

const NAMES = { defaultSvidName: 'default', defaultBundleName: 'ROOTCA', defaultAllBundlesName: 'ALL' };
const WITHDRAWN = ['spiffe://a.org', 'spiffe://b.org'];

/** What a caller may have once the lists are others: of the two domains nothing. */
function listed(number: number): Holdable {
  return { svids: [], bundles: { own: ownBundle(), federated: [] }, lists: { number, crls: [] } };
}

function found(subscription: Subscription, number: number, validator: Validator = 'spiffe') {
  return subscription.find(listed(number), validator, () => true).resources;
}

// A proxy may say of 256 domains that it had their bundles, and each revocation on the machine has all streams looked through.
test('what stands in for withdrawn bundles is made once, however often the lists change', () => {
  const subscription = new Subscription(NAMES);
  subscription.subscribe(WITHDRAWN);
  const first = found(subscription, 1);
  expect(first.map(({ name }) => name)).toEqual(WITHDRAWN);
  expect(subscription.replace([...WITHDRAWN])).toBe(false);
  const again = found(subscription, 2);
  for (const [index, resource] of again.entries()) expect(resource).toBe(first[index]);
});

test('it is written as the proxy wants it now', () => {
  const subscription = new Subscription(NAMES);
  subscription.subscribe(WITHDRAWN);
  const [spiffe] = found(subscription, 1);
  const [plain] = found(subscription, 1, 'trusted-ca');
  expect(plain?.version).not.toBe(spiffe?.version);
  expect(found(subscription, 2)[0]).toBe(spiffe);
});

test('a stream has so many of them; what is beyond is missing', () => {
  const subscription = new Subscription(NAMES);
  const names = Array.from({ length: 65 }, (_, index) => `spiffe://d${index}.org`);
  subscription.subscribe(names);
  const { missing, resources } = subscription.find(listed(1), 'spiffe', () => true);
  expect(resources.map(({ name }) => name)).toEqual(names.slice(0, 64));
  expect(missing).toEqual(names.slice(64));
});

test('it is let go of with the names', () => {
  const subscription = new Subscription(NAMES);
  subscription.subscribe(WITHDRAWN);
  const [first] = found(subscription, 1);
  subscription.unsubscribe(['spiffe://b.org']);
  expect(found(subscription, 1).map(({ name }) => name)).toEqual(['spiffe://a.org']);
  expect(found(subscription, 1)[0]).not.toBe(first);
  expect(subscription.replace(['spiffe://b.org'])).toBe(true);
  expect(found(subscription, 1).map(({ name }) => name)).toEqual(['spiffe://b.org']);
});
