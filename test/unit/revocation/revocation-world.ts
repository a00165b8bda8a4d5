import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LocalAuthority } from '../../../agent/authority/local.ts';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import type { SvidIssued } from '../../../agent/ledger/event.ts';
import type { IssuanceLedger } from '../../../agent/ledger/issuance-ledger.ts';
import type { RevocationConfig } from '../../../agent/revocation/revocation.ts';
import { Revocation } from '../../../agent/revocation/revocation.ts';
import { generateLeafKey } from '../../../agent/svid/leaf-key.ts';
import { x509Grant } from '../../support/grants.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLedger } from '../../support/memory-ledger.ts';
import { MemoryLog } from '../../support/memory-log.ts';

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const CONFIG: RevocationConfig = {
  maxBytes: 128 * 1024,
  minX509SvidTtl: 10 * SECOND,
  x509SvidInterval: SECOND,
  sdsInterval: 200,
  maxPushRate: 32 * 1024 * 1024,
};

export const BOOT_ID = '00000000-0000-4000-8000-000000000001';

const { publicKey } = await generateLeafKey('ec-p256');

/** The record of something that was issued under a lease; what a test does not say is as ordinary as can be. */
export function issuedEvent(
  lease: string,
  now: number,
  more: Partial<SvidIssued> & { readonly ttl?: number } = {},
): SvidIssued {
  const { ttl = HOUR, ...rest } = more;
  return {
    type: 'svid.issued',
    decision: `decision-${lease}-${now}`,
    lease,
    kind: rest.jti === undefined ? 'x509' : 'jwt',
    occasion: 'first',
    instance: { pid: 7, start_time: '70', uid: 1000, gid: 1000 },
    selectors: ['unix:uid:1000'],
    entry: 'payments',
    owner: 'team@example.org',
    spiffe_id: 'spiffe://example.org/payments',
    lifetime_asked: ttl,
    lifetime_given: ttl,
    expires_at: new Date(now + ttl).toISOString(),
    rule: 'entry',
    ...rest,
  };
}

/** A serial as the authority makes them. */
export function someSerial(): string {
  return `4d${randomBytes(16).toString('hex')}`;
}

/** The stage with a real authority, the ledger's real state, and a clock that the test moves. */
export function revocationWorld(more: Partial<RevocationConfig> = {}) {
  const clock = new ManualClock();
  const log = new MemoryLog();
  const ledger = new MemoryLedger(clock, BOOT_ID);
  const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-revocation-'));
  const openAuthority = () =>
    LocalAuthority.open({
      trustDomain: parseTrustDomain('example.org'),
      dataDir,
      keyType: 'ec-p256',
      rootTtl: 30 * DAY,
      caTtl: DAY,
      jwtKeyTtl: DAY,
      witKeyTtl: DAY,
      nameConstraint: false,
      clock,
      log,
    });
  const authority = openAuthority();
  const open = (from: Pick<IssuanceLedger, 'state' | 'note'> = ledger) => {
    const opened = new Revocation({ authority, ledger: from, clock, log, ...CONFIG, ...more });
    running.push(opened);
    return opened;
  };
  const running: Revocation[] = [];
  const revocation = open();
  // The first lists are out, and all is quiet.
  clock.advance(SECOND);
  return {
    clock,
    log,
    ledger,
    authority,
    revocation,
    /** Another agent's, over the same authority. */
    open,
    /** Has a certificate signed and recorded under a lease. */
    async issue(lease: string, ttl = HOUR, about: Partial<SvidIssued> = {}) {
      const now = clock.now();
      const issued = await authority.issueX509(x509Grant({ now, ttl }), publicKey);
      const { issuer, serial } = issued;
      const expires_at = new Date(issued.notAfter).toISOString();
      await ledger.append(issuedEvent(lease, now, { serial, issuer, expires_at, lifetime_given: ttl, ...about }));
      return issued;
    },
    /** Has a token recorded under a lease. */
    token(lease: string, jti: string, ttl = 5 * MINUTE) {
      return ledger.append(issuedEvent(lease, clock.now(), { jti, ttl }));
    },
    async close() {
      for (const each of running) each.close();
      await authority.close();
      rmSync(dataDir, { recursive: true });
    },
  };
}

export type RevocationWorld = ReturnType<typeof revocationWorld>;
