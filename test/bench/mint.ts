import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LocalAuthority } from '../../agent/authority/local.ts';
import { SystemClock } from '../../agent/kernel/clock.ts';
import { parseTrustDomain } from '../../agent/kernel/spiffe-id.ts';
import { generateLeafKey } from '../../agent/svid/leaf-key.ts';
import { jwtGrant, x509Grant } from '../support/grants.ts';
import { silent } from '../support/lease-world.ts';

/** How many a second one core makes. */
export interface MintRates {
  /** A P-256 key and one signature over a certificate's worth of bytes, and nothing else: no certificate can be cheaper. */
  readonly limit: number;
  readonly certificates: number;
  readonly tokens: number;
}

const ROUNDS = 5;
const ROUND_MS = 400;

/** Measures minting in this process, in turns, so that a machine that slows down slows down all of it. */
export async function mintRates(): Promise<MintRates> {
  const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-mint-'));
  const day = 86_400_000;
  const clock = new SystemClock();
  const authority = LocalAuthority.open({
    trustDomain: parseTrustDomain('example.org'),
    dataDir,
    keyType: 'ec-p256',
    rootTtl: 365 * day,
    caTtl: day,
    jwtKeyTtl: day,
    witKeyTtl: day,
    nameConstraint: false,
    clock,
    log: silent,
  });
  const ca = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const body = randomBytes(450);
  const limit: number[] = [];
  const certificates: number[] = [];
  const tokens: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const rates = [
      await rate(() => {
        generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
        sign('sha256', body, ca);
      }),
      await rate(async () => {
        const { publicKey, privateKey } = await generateLeafKey('ec-p256');
        await authority.issueX509(x509Grant({ now: clock.now(), ttl: 3_600_000 }), publicKey);
        privateKey.destroy();
      }),
      await rate(() => authority.issueJwt(jwtGrant({ now: clock.now(), ttl: 300_000 }))),
    ] as const;
    // The first round warms up.
    if (round > 0) for (const [index, list] of [limit, certificates, tokens].entries()) list.push(rates[index] ?? 0);
  }
  await authority.close();
  rmSync(dataDir, { recursive: true });
  return { limit: median(limit), certificates: median(certificates), tokens: median(tokens) };
}

async function rate(work: () => unknown): Promise<number> {
  const began = performance.now();
  let count = 0;
  while (performance.now() - began < ROUND_MS) {
    await work();
    count += 1;
  }
  return (count * 1000) / (performance.now() - began);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
