import { create, fromBinary } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { WITSVIDResponseSchema } from '../../../agent/gen/workload_pb.js';
import { Secret } from '../../../agent/kernel/secret.ts';
import { parseSpiffeId } from '../../../agent/kernel/spiffe-id.ts';
import type { WitUpdate } from '../../../agent/lease/updates.ts';
import { witDigest, witMessage } from '../../../agent/serve/wit-message.ts';

function updateOf(...keys: readonly string[]): WitUpdate {
  return {
    svids: keys.map((key, index) => ({
      hint: index === 1 ? 'internal' : '',
      svid: {
        decisionId: 'd',
        spiffeId: parseSpiffeId(`spiffe://example.org/web-${index}`),
        token: `a.${index}.${'c'.repeat(400)}`,
        privateKey: new Secret(Buffer.from(key)),
        jti: String(index),
        notBefore: 0,
        issuedAt: 0,
        expiresAt: 1,
      },
    })),
  };
}

// Lengths on both sides of where a length takes one byte more.
it.each([[[127]], [[128, 200]], [[1700, 16_383, 16_384]]])(
  'with keys of %j bytes is what a general decoder reads, the key as text',
  (lengths) => {
    const keys = lengths.map((length) => 'k'.repeat(length));
    const update = updateOf(...keys);
    using message = witMessage(update);
    expect(fromBinary(WITSVIDResponseSchema, message.bytes)).toEqual(
      create(WITSVIDResponseSchema, {
        svids: update.svids.map(({ svid, hint }, index) => ({
          spiffeId: svid.spiffeId,
          witSvid: svid.token,
          witSvidKey: keys[index] ?? '',
          hint,
        })),
      }),
    );
  },
);

it('can be made again, since only its bytes are wiped', () => {
  const update = updateOf('{"d":"secret"}');
  const first = witMessage(update);
  const bytes = Buffer.from(first.bytes);
  first[Symbol.dispose]();
  expect(first.bytes.every((byte) => byte === 0)).toBe(true);
  using second = witMessage(update);
  expect(second.bytes.equals(bytes)).toBe(true);
});

it('is told from another by what is public', () => {
  expect(witDigest(updateOf('one'))).toEqual(witDigest(updateOf('two')));
  expect(witDigest(updateOf('one'))).not.toEqual(witDigest(updateOf('one', 'one')));
});
