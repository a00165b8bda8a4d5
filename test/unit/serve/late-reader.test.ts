import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { fromBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { X509SVIDResponseSchema } from '../../../agent/gen/workload_pb.js';
import type { ApiWorld } from '../../support/api-world.ts';
import { apiWorld, ownEntry } from '../../support/api-world.ts';

let world: ApiWorld;
beforeEach(async () => {
  world = await apiWorld([ownEntry('web')]);
});
afterEach(() => world.close());

it('a client that reads only after its stream has ended is sent the message as it was, and then the end', async () => {
  const session = connectHttp2('http://localhost', {
    settings: { initialWindowSize: 0 },
    createConnection: () => connect(world.path),
  });
  await once(session, 'remoteSettings');
  const stream = session.request({
    ':method': 'POST',
    ':path': '/SpiffeWorkloadAPI/FetchX509SVID',
    'content-type': 'application/grpc',
    te: 'trailers',
    'workload.spiffe.io': 'true',
  });
  stream.end(Buffer.alloc(5));
  await once(stream, 'response');
  const ended = once(stream, 'trailers');
  world.replaceEntries([]);
  await world.clock.elapse(0);
  expect([...world.leases]).toEqual([]);

  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  session.settings({ initialWindowSize: 65_535 });
  const [trailers] = (await ended) as [Record<string, string>];
  expect(trailers).toMatchObject({ 'grpc-status': '7', 'grpc-message': 'no%20identity%20issued' });
  const frame = Buffer.concat(chunks);
  expect(frame.readUInt32BE(1)).toBe(frame.length - 5);
  const { svids } = fromBinary(X509SVIDResponseSchema, frame.subarray(5));
  expect(svids).toHaveLength(1);
  // It was revoked meanwhile; what matters is that no client is sent what it cannot read.
  const key = createPrivateKey({ key: Buffer.from(svids[0]?.x509SvidKey ?? []), format: 'der', type: 'pkcs8' });
  expect(key.asymmetricKeyType).toBe('ec');
  session.close();
});
