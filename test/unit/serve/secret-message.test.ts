import { expect, it } from 'vitest';
import { SecretMessage, UnsentSecrets } from '../../../agent/serve/secret-message.ts';

it('a message that is disposed of is wiped, and so is the frame that it was copied into', () => {
  const message = new SecretMessage(Buffer.from('a private key'));
  const frame = Buffer.alloc(18);
  expect(message.bytes.copy(frame, 5)).toBe(13);
  expect(frame.subarray(5).toString()).toBe('a private key');
  message[Symbol.dispose]();
  expect(message.bytes).toEqual(Buffer.alloc(13));
  expect(frame).toEqual(Buffer.alloc(18));
});

it('a message that was never sent is wiped as well', () => {
  const message = new SecretMessage(Buffer.from('a private key'));
  message[Symbol.dispose]();
  expect(message.bytes).toEqual(Buffer.alloc(13));
});

it('messages under way are wiped when they were sent, and the others when their connection closes', () => {
  const unsent = new UnsentSecrets();
  const [sent, pending, another] = ['one', 'two', 'three'].map((text) => new SecretMessage(Buffer.from(text))) as [
    SecretMessage,
    SecretMessage,
    SecretMessage,
  ];
  unsent.add('api-1', sent);
  unsent.add('api-1', pending);
  unsent.add('api-2', another);
  unsent.sent('api-1', sent);
  expect([sent, pending, another].map(({ bytes }) => bytes[0] === 0)).toEqual([true, false, false]);
  unsent.closed('api-1');
  expect([sent, pending, another].map(({ bytes }) => bytes[0] === 0)).toEqual([true, true, false]);
});
