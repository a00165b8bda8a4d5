import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '../../agent/kernel/clock.ts';
import type { LeaseEnded, SvidIssued, SvidRevoked } from '../../agent/ledger/event.ts';
import { Ledger } from '../../agent/ledger/ledger.ts';
import type { Sync } from '../../agent/ledger/ledger-files.ts';
import { verifyLedger } from '../../agent/ledger/verify.ts';
import { silent } from '../support/lease-world.ts';

/** What the ledger costs. */
export interface LedgerRates {
  readonly records: number;
  /** Milliseconds to open a ledger of so many records behind one checkpoint. */
  readonly replay: number;
  /** Records a second. */
  readonly verify: number;
  /** Durable issuances a second, one after the other; durable records a second with 64 under way; bytes of a record. */
  readonly alone: number;
  readonly together: number;
  readonly bytes: number;
  /** Milliseconds until a record is durable, alone: in the middle, and the slowest of a hundred. */
  readonly p50: number;
  readonly p99: number;
  /** Milliseconds of the thread for one record, with what it costs to write it. */
  readonly thread: number;
}

const UNDER_WAY = 64;
const LEASES = 2000;

/** Measures writing and reading a ledger on the disk under the temporary folder. */
export async function ledgerRates(records = 100_000, sync: Sync = 'strict'): Promise<LedgerRates> {
  const directory = join(mkdtempSync(join(tmpdir(), 'mayfly-ledger-')), 'ledger');
  const open = () =>
    Ledger.open({
      directory,
      bootId: randomUUID(),
      clock: new SystemClock(),
      log: silent,
      sync,
      segmentSize: 1024 ** 3,
      checkpointInterval: 86_400_000,
      maxAge: 86_400_000,
      maxSize: 4 * 1024 ** 3,
      reserve: 1024 * 1024,
    });
  try {
    const ledger = await open();
    const leases = Array.from({ length: LEASES }, (_, index) => templateOf(index));
    // Each place is taken by a process that is issued to, ends and is revoked, and then by the next.
    const step = async (index: number): Promise<void> => {
      const lease = leases[index % LEASES] ?? templateOf(0);
      const issued = issuedUnder(lease, index);
      await ledger.append(issued);
      for (const event of endOf(issued)) ledger.note(event);
      leases[index % LEASES] = { ...lease, lease: randomUUID() };
    };
    const times: number[] = [];
    let count = 0;
    const aloneFrom = performance.now();
    const steps = Math.floor(records / 3);
    for (; count < Math.min(steps / 10, 2000); count += 1) {
      const began = performance.now();
      await step(count);
      times.push(performance.now() - began);
    }
    const alone = (count * 1000) / (performance.now() - aloneFrom);
    const before = count;
    const togetherFrom = performance.now();
    const cpu = process.threadCpuUsage();
    const worker = async () => {
      while (count < steps) await step(count++);
    };
    await Promise.all(Array.from({ length: UNDER_WAY }, worker));
    const { system, user } = process.threadCpuUsage(cpu);
    const together = ((steps - before) * 3000) / (performance.now() - togetherFrom);
    await ledger.settled();
    const { head } = ledger;
    const bytes = Number(ledger.status().bytes) / records;
    // The first is left as a crash leaves it: without a checkpoint at its end.
    const replayFrom = performance.now();
    const again = await open();
    const replay = performance.now() - replayFrom;
    if (again.head.hash !== head.hash) throw new Error('the ledger that was read is not the one that was written');
    await again.close();
    const verifyFrom = performance.now();
    const { problems, records: verified } = verifyLedger(directory, 'issuance');
    const verifyMs = performance.now() - verifyFrom;
    if (problems.length > 0) throw new Error(`the ledger does not verify: ${problems[0]?.message}`);
    times.sort((a, b) => a - b);
    return {
      records,
      replay,
      verify: (verified * 1000) / verifyMs,
      alone,
      together,
      bytes,
      p50: times[Math.floor(times.length / 2)] ?? Number.NaN,
      p99: times[Math.floor(times.length * 0.99)] ?? Number.NaN,
      thread: (user + system) / 1000 / ((steps - before) * 3),
    };
  } finally {
    rmSync(join(directory, '..'), { recursive: true });
  }
}

type Template = Omit<SvidIssued, 'type' | 'decision' | 'serial' | 'expires_at'>;

function templateOf(index: number): Template {
  return {
    lease: randomUUID(),
    parent: randomUUID(),
    kind: 'x509',
    occasion: 'first',
    instance: Object.freeze({
      pid: 1000 + index,
      start_time: String(880_000 + index),
      uid: 1000,
      gid: 1000,
      inode: String(4_026_532_000 + index),
      executable: `/usr/lib/services/service-${index % 40}/bin/server`,
      cgroup: `/system.slice/service-${index}.service`,
      namespaces: { mnt: '4026531841', net: '4026531840', pid: '4026531836', user: '4026531837' },
      layout: 'c9f0f895fb98ab9159f51fd0297e236d',
    }),
    selectors: Object.freeze([
      `unix:cgroup:/system.slice/service-${index}.service`,
      'unix:gid:1000',
      `unix:path:/usr/lib/services/service-${index % 40}/bin/server`,
      'unix:uid:1000',
    ]),
    entry: `service-${index % 40}`,
    spiffe_id: `spiffe://example.org/service/${index % 40}`,
    issuer: '1f0c5a9b7a2d4f3e8c6b5a4938271605f4e3d2c1',
    lifetime_asked: 3_600_000,
    lifetime_given: 3_600_000,
    rule: 'lifetime',
  };
}

function issuedUnder(lease: Template, index: number): SvidIssued {
  return {
    ...lease,
    type: 'svid.issued',
    decision: randomUUID(),
    serial: index.toString(16).padStart(32, '4'),
    expires_at: new Date(Date.now() + 3_600_000).toISOString(),
  };
}

function endOf(issued: SvidIssued): readonly [LeaseEnded, SvidRevoked] {
  const { decision, entry, expires_at, instance, issuer = '', lease, serial = '', spiffe_id } = issued;
  const about = { lease, parent: decision, entry, spiffe_id };
  return [
    { type: 'lease.ended', ...about, instance, reason: 'exited' },
    {
      type: 'svid.revoked',
      ...about,
      reason: 'cessationOfOperation',
      cause: 'exited',
      certificates: [{ serial, issuer, expires_at }],
      tokens: [],
    },
  ];
}
