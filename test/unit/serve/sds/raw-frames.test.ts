import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
} from '../../../../agent/gen/envoy/service/discovery/v3/discovery_pb.js';
import type { ApiWorld } from '../../../support/api-world.ts';
import { apiWorld, ownEntry } from '../../../support/api-world.ts';
import {
  DATA,
  END_HEADERS,
  frameOf,
  HEADERS,
  Http2Client,
  PREFACE,
  requestFields,
  SETTINGS,
  WINDOW_UPDATE,
} from '../../../support/http2-client.ts';
import { readSecret } from '../../../support/secrets-read.ts';

const INITIAL_WINDOW_SIZE = 4;

let world: ApiWorld;
beforeAll(async () => {
  world = await apiWorld([ownEntry('web')]);
});
afterAll(() => world.close());

/** SETTINGS of a client that lets the server send `window` bytes on a stream before it has to wait. */
function settings(window: number): Buffer {
  const payload = Buffer.alloc(6);
  payload.writeUInt16BE(INITIAL_WINDOW_SIZE, 0);
  payload.writeUInt32BE(window, 2);
  return frameOf(SETTINGS, 0, 0, payload);
}

function windowUpdate(bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes, 0);
  return frameOf(WINDOW_UPDATE, 0, 1, payload);
}

/** A request in gRPC's framing, as large as a proxy makes it with all that it tells of itself. */
function request(names: readonly string[], nodeBytes: number): Buffer {
  const node = { id: 'n'.repeat(nodeBytes) };
  const message = toBinary(DiscoveryRequestSchema, create(DiscoveryRequestSchema, { resourceNames: [...names], node }));
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const ends = [...new Set(at.map((each) => each % bytes.length)), 0, bytes.length].toSorted((a, b) => a - b);
  return ends.slice(1).map((end, index) => bytes.subarray(ends[index], end));
}

test('whatever its authority, its window and the pieces in which it speaks, a proxy gets its secrets', async () => {
  const authority = fc.constantFrom('agent', 'outbound|80||x', '/run/mayfly/api.sock', '', undefined, 'a@b');
  const spoken = fc.record({
    authority,
    window: fc.constantFrom(1, 7, 100, 1000, 65_535),
    // A proxy's request has about 20 kB, most of it the names of its extensions.
    nodeBytes: fc.constantFrom(0, 1, 20_000),
    frames: fc.array(fc.nat(25_000), { maxLength: 6 }),
    writes: fc.array(fc.nat(25_000), { maxLength: 6 }),
    names: fc.subarray(['default', 'ROOTCA'], { minLength: 1 }),
  });
  await fc.assert(
    fc.asyncProperty(spoken, async ({ authority: named, frames, names, nodeBytes, window, writes }) => {
      const client = await Http2Client.open(world.path);
      try {
        const path = '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets';
        const head = frameOf(HEADERS, END_HEADERS, 1, client.encoder.block(requestFields(path, named)));
        const body = cut(request(names, nodeBytes), frames).flatMap((piece) => cut(piece, [16_384]));
        const data = body.map((piece) => frameOf(DATA, 0, 1, piece));
        for (const piece of cut(Buffer.concat([PREFACE, settings(window), head, ...data]), writes)) client.send(piece);

        const answer = () =>
          Buffer.concat(
            client.frames.flatMap(({ payload, stream, type }) => (type === DATA && stream === 1 ? payload : [])),
          );
        const whole = () => answer().length >= 5 && answer().length >= 5 + answer().readUInt32BE(1);
        // Gives room as it is used up, and never a byte more.
        for (let seen = 0; !whole(); ) {
          const before = seen;
          await client.until(() => client.closed || answer().length > before || whole());
          expect(client.closed).toBe(false);
          const fresh = answer().length - seen;
          seen += fresh;
          client.send(windowUpdate(window < 100 ? Math.max(fresh, 4096) : fresh));
        }
        const { resources } = fromBinary(DiscoveryResponseSchema, answer().subarray(5));
        expect(resources.map((any) => readSecret(any).name)).toEqual(names);
      } finally {
        client.socket.destroy();
      }
    }),
    { numRuns: 60 },
  );
}, 60_000);
