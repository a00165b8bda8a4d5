import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LeaseEnded, SvidIssued, SvidRefused, SvidRevoked, SvidValidated } from '../../../agent/ledger/event.ts';
import { Ledger } from '../../../agent/ledger/ledger.ts';
import type { LedgerParts } from '../../../agent/ledger/ledger-parts.ts';
import type { AnyRecord, StateJson } from '../../../agent/ledger/record.ts';
import type { Stream } from '../../../agent/ledger/segments.ts';
import type { LedgerState } from '../../../agent/ledger/state.ts';
import { stateText } from '../../../agent/ledger/state-json.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLog } from '../../support/memory-log.ts';

export const BOOT = '6f1c6b3e-0000-4000-8000-000000000001';
const HOUR = 3_600_000;

/** A ledger in a directory of its own. What is opened is left as `kill -9` leaves it, unless a test closes it. */
export class LedgerWorld {
  readonly dataDir = mkdtempSync(join(tmpdir(), 'mayfly-ledger-'));
  readonly directory: string;
  readonly clock = new ManualClock();
  readonly log = new MemoryLog();

  constructor(directory?: string) {
    this.directory = directory ?? join(this.dataDir, 'ledger');
  }

  open(parts: Partial<LedgerParts> = {}): Promise<Ledger> {
    return Ledger.open({
      directory: this.directory,
      bootId: BOOT,
      clock: this.clock,
      log: this.log,
      sync: 'relaxed',
      segmentSize: 1024 * 1024,
      checkpointInterval: 24 * HOUR,
      maxAge: 90 * 24 * HOUR,
      maxSize: 1024 ** 3,
      reserve: 64 * 1024,
      ...parts,
    });
  }

  names(stream: Stream = 'issuance'): string[] {
    return readdirSync(this.directory)
      .filter((name) => name.startsWith(`${stream}-`))
      .toSorted();
  }

  path(index = -1, stream: Stream = 'issuance'): string {
    return join(this.directory, this.names(stream).at(index)!);
  }

  records(stream: Stream = 'issuance'): AnyRecord[] {
    return this.names(stream).flatMap((name) => linesIn(join(this.directory, name)).map((line) => JSON.parse(line)));
  }

  types(stream: Stream = 'issuance'): string[] {
    return this.records(stream).map(({ type }) => type);
  }

  clean(): void {
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

/** The whole lines of a file. */
export function linesIn(path: string): string[] {
  return readFileSync(path, 'utf8').split('\n').slice(0, -1);
}

/** What a ledger's state comes to, for comparing. */
export function stateOf(ledger: Ledger, clock: ManualClock): StateJson {
  return stateToJson(ledger.state, clock.now());
}

export function stateToJson(state: LedgerState, time: number): StateJson {
  return JSON.parse(stateText(state, time));
}

export function issued(name: string, clock: ManualClock, over: Partial<SvidIssued> = {}): SvidIssued {
  return {
    type: 'svid.issued',
    decision: `decision-${name}`,
    lease: `lease-${name}`,
    kind: 'x509',
    occasion: 'first',
    instance: Object.freeze({ pid: 4711, start_time: '8814', uid: 1000, gid: 100, executable: '/usr/bin/päyments' }),
    selectors: Object.freeze(['unix:gid:100', 'unix:uid:1000']),
    entry: 'payments',
    spiffe_id: 'spiffe://example.org/payments',
    serial: `serial-${name}`,
    issuer: 'ab12',
    lifetime_asked: HOUR,
    lifetime_given: HOUR,
    expires_at: new Date(clock.now() + HOUR).toISOString(),
    rule: 'lifetime',
    ...over,
  };
}

export function token(name: string, clock: ManualClock, over: Partial<SvidIssued> = {}): SvidIssued {
  const { issuer: _issuer, serial: _serial, ...event } = issued(name, clock);
  return { ...event, kind: 'jwt', occasion: 'on-demand', audiences: ['mail'], jti: `jti-${name}`, ...over };
}

export function refused(name: string, clock: ManualClock): SvidRefused {
  const {
    expires_at: _expires,
    issuer: _issuer,
    lifetime_given: _given,
    serial: _serial,
    ...event
  } = issued(name, clock);
  return { ...event, type: 'svid.refused', rule: 'require_owner', reason: 'the entry has no owner' };
}

export function ended({ decision, entry, instance, lease, spiffe_id }: SvidIssued): LeaseEnded {
  return { type: 'lease.ended', lease, parent: decision, instance, entry, spiffe_id, reason: 'exited' };
}

export function revoked({
  decision,
  entry,
  expires_at,
  issuer,
  jti,
  lease,
  serial,
  spiffe_id,
}: SvidIssued): SvidRevoked {
  return {
    type: 'svid.revoked',
    lease,
    parent: decision,
    entry,
    spiffe_id,
    reason: 'cessationOfOperation',
    cause: 'exited',
    certificates: serial === undefined || issuer === undefined ? [] : [{ serial, issuer, expires_at }],
    tokens: jti === undefined ? [] : [{ jti, expires_at }],
  };
}

export function validated(jti: string, decision?: string): SvidValidated {
  return {
    type: 'svid.validated',
    kind: 'jwt',
    jti,
    ...(decision !== undefined && { decision }),
    audience: 'mail',
    caller: { pid: 99, start_time: '1', uid: 5 },
  };
}
