import { createPrivateKey } from 'node:crypto';
import { inspect } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { WorkloadExtension } from '../../../agent/gen/workload_extension_pb.js';
import { SpiffeWorkloadAPI } from '../../../agent/gen/workload_pb.js';
import type { ApiWorld } from '../../support/api-world.ts';
import { apiWorld, ownEntry } from '../../support/api-world.ts';
import { MINUTE } from '../../support/lease-world.ts';

const { fetchX509SVID, fetchX509Bundles, fetchJWTSVID, fetchWITSVID, validateJWTSVID } = SpiffeWorkloadAPI.method;
const { validateWITSVID } = WorkloadExtension.method;

let world: ApiWorld;
beforeEach(async () => {
  world = await apiWorld([ownEntry('web')]);
});
afterEach(() => world.close());

/** The spellings under which a key could be found: the whole of it and its secret number alone. */
function spellingsOf(pkcs8: Uint8Array): string[] {
  const key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
  const secret = Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url');
  expect(secret).toHaveLength(32);
  const pem = key.export({ format: 'pem', type: 'pkcs8' }).split('\n').slice(1, -2);
  // Inside base64 the number may stand at any of three offsets.
  const shifted = [0, 1, 2].map((by) =>
    Buffer.concat([Buffer.alloc(by), secret])
      .toString('base64')
      .slice(4, 36),
  );
  return [...pem, ...shifted, ...[Buffer.from(pkcs8), secret].flatMap(bytesAs)];
}

function bytesAs(bytes: Buffer): string[] {
  const asText = [
    bytes.toString('hex'),
    bytes.toString('base64'),
    bytes.toString('base64url'),
    bytes.toString('latin1'),
  ];
  return [...asText, [...bytes].join(','), inspect(bytes).slice(8, 60), bytes.toString('hex').toUpperCase()];
}

it('no line of the log, down to debug, holds a key or a token, whatever was issued, refused or has failed', async () => {
  const secrets: string[] = [];
  const stream = world.client.stream(fetchX509SVID, {});
  const first = await stream.at(1);
  await world.clock.elapse(31 * MINUTE);
  const second = await stream.at(2);
  for (const { svids } of [first, second]) secrets.push(...spellingsOf(svids[0]?.x509SvidKey ?? new Uint8Array()));

  const wits = world.client.stream(fetchWITSVID, {});
  const [wit] = (await wits.at(1)).svids;
  const { d = '' } = JSON.parse(wit?.witSvidKey ?? '{}') as { d?: string };
  expect(d).toHaveLength(43);
  secrets.push(d, ...bytesAs(Buffer.from(d, 'base64url')), wit?.witSvid ?? '');
  for (const svid of [wit?.witSvid ?? '', `${wit?.witSvid}x`]) await world.client.told(validateWITSVID, { svid });

  const { svids } = await world.client.call(fetchJWTSVID, { audience: ['a'] });
  const token = svids[0]?.svid ?? '';
  await world.client.call(validateJWTSVID, { audience: 'a', svid: token });
  const bad = [token, `${token}x`, token.slice(0, -9), `x${token}`, token.replace('.', '..'), token.repeat(40)];
  for (const svid of bad) await world.client.told(validateJWTSVID, { audience: 'b', svid });
  secrets.push(token, ...token.split('.').slice(1));

  // What the authority keeps on the disk: a root's key, an issuing CA's, and those for JWT-SVIDs and WIT-SVIDs.
  const kept = [...world.keysFile().matchAll(/"key":\s*"([^"]+)"/g)].map(([, der]) => Buffer.from(der ?? '', 'base64'));
  expect(kept).toHaveLength(4);
  secrets.push(...kept.flatMap(spellingsOf));

  // Everything that is told of failures and ends.
  world.fault.authority = true;
  await world.client.told(fetchJWTSVID, { audience: ['other'] });
  await world.clock.elapse(40 * MINUTE);
  world.fault.attestation = 'fails';
  await world.client.stream(fetchX509Bundles, {}).ended;
  world.fault.attestation = undefined;
  world.replaceEntries([]);
  await Promise.all([stream.ended, wits.ended]);
  world.leases.close();

  expect(new Set(world.log.events)).toEqual(
    new Set(['authority.made', 'lease.issued', 'serve.refused', 'lease.renewal_failed', 'lease.ended']),
  );
  const everything = world.log.lines
    .flatMap((line) => [
      JSON.stringify(line),
      inspect(line, { depth: null, maxStringLength: null, maxArrayLength: null, showHidden: true }),
    ])
    .join('\n');
  for (const secret of secrets) expect(everything).not.toContain(secret);
  expect(everything).not.toContain('PRIVATE KEY');
});
