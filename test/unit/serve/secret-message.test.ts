import { expect, it } from 'vitest';
import { SecretMessage } from '../../../agent/serve/secret-message.ts';

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
