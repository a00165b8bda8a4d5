import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Attested } from '../../agent/attest/attestor.ts';
import type { Context } from '../../agent/attest/context.ts';
import { NO_CONTEXT } from '../../agent/attest/context.ts';
import { Contexts } from '../../agent/attest/contexts.ts';
import type { Authority, IssuedX509 } from '../../agent/authority/authority.ts';
import { LocalAuthority } from '../../agent/authority/local.ts';
import { MayflyError } from '../../agent/kernel/errors.ts';
import { Latest } from '../../agent/kernel/latest.ts';
import type { Log } from '../../agent/kernel/log.ts';
import { parseSelector } from '../../agent/kernel/selector.ts';
import type { TrustDomain } from '../../agent/kernel/spiffe-id.ts';
import { parseTrustDomain } from '../../agent/kernel/spiffe-id.ts';
import { Issuer } from '../../agent/lease/issuer.ts';
import { Leases } from '../../agent/lease/leases.ts';
import type { X509Update } from '../../agent/lease/updates.ts';
import type { Workload } from '../../agent/lease/workload.ts';
import type { ProcessInstance } from '../../agent/peer/instance.ts';
import { BuiltInPolicy } from '../../agent/policy/built-in.ts';
import type { Attesting } from '../../agent/registry/entitlement.ts';
import { Entitlement } from '../../agent/registry/entitlement.ts';
import { EntryIndex } from '../../agent/registry/entry-index.ts';
import type { EntrySet } from '../../agent/registry/entry-set.ts';
import type { WrittenEntry } from '../../agent/registry/written-entry.ts';
import { Revocation } from '../../agent/revocation/revocation.ts';
import type { TrustBundle } from '../../agent/svid/trust-bundle.ts';
import { BOOT_ID } from './instance.ts';
import { ManualClock } from './manual-clock.ts';
import { MemoryLedger } from './memory-ledger.ts';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;

/** What the configuration says of revocation unless told otherwise. */
export const REVOCATION = {
  maxBytes: 128 * 1024,
  minX509SvidTtl: 10_000,
  x509SvidInterval: 1000,
  sdsInterval: 200,
  maxPushRate: 32 * 1024 * 1024,
};

export const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/**
 * The stages behind attestation with real parts and a clock that the test moves: a local authority in a folder of its own, the
 * built-in policy, the entry index. Attestation says the uid, and fails when told to.
 */
export function leaseWorld(entries: readonly WrittenEntry[]) {
  const clock = new ManualClock();
  const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-lease-'));
  const local = LocalAuthority.open({
    trustDomain: parseTrustDomain('example.org'),
    dataDir,
    keyType: 'ec-p256',
    rootTtl: 365 * 24 * HOUR,
    caTtl: 24 * HOUR,
    jwtKeyTtl: 24 * HOUR,
    witKeyTtl: 24 * HOUR,
    nameConstraint: false,
    clock,
    log: silent,
  });
  const fault = { admission: false, authority: false, attestation: undefined as MayflyError | undefined };
  const minted: IssuedX509[] = [];
  const authority: Authority = {
    bundle: local.bundle,
    crls: local.crls,
    signerExpiresAt: (kind) => local.signerExpiresAt(kind),
    async issueX509(grant, publicKey) {
      if (fault.authority) throw new MayflyError('AUTHORITY_UNAVAILABLE', 'the authority is away');
      const issued = await local.issueX509(grant, publicKey);
      minted.push(issued);
      return issued;
    },
    issueJwt: (grant) =>
      fault.authority ? Promise.reject(new MayflyError('AUTHORITY_UNAVAILABLE', 'away')) : local.issueJwt(grant),
    issueWit: (grant, confirmation) =>
      fault.authority
        ? Promise.reject(new MayflyError('AUTHORITY_UNAVAILABLE', 'away'))
        : local.issueWit(grant, confirmation),
    status: () => local.status(),
    close: () => local.close(),
  };
  const set = new Latest<EntrySet>();
  set.set(new EntryIndex(entries));
  const federated = new Latest<ReadonlyMap<TrustDomain, TrustBundle>>();
  const attestations: ProcessInstance[] = [];
  /** Attestations that calls asked for: under way, and ever. */
  const admitted = { now: 0, total: 0 };
  /** Where each process is found to live, and what is true of it beside its uid. */
  const found: { context: Context; selectors: readonly string[] } = { context: NO_CONTEXT, selectors: [] };
  const contexts = new Contexts();
  const known = new WeakMap<ProcessInstance, { attested: Attested; until: number }>();
  const attesting: Attesting = {
    current(instance) {
      const hit = known.get(instance);
      return hit !== undefined && clock.monotonic() < hit.until && instance.alive() ? hit.attested : undefined;
    },
    async attest(instance) {
      attestations.push(instance);
      await Promise.resolve();
      if (fault.attestation !== undefined) throw fault.attestation;
      if (!instance.alive()) throw new MayflyError('CALLER_UNKNOWN', 'gone');
      const selectors = new Set([`unix:uid:${instance.uid}`, ...found.selectors].map(parseSelector));
      const attested = { instance, selectors, context: found.context };
      known.set(instance, { attested, until: clock.monotonic() + 1000 });
      return attested;
    },
  };
  const entitlement = new Entitlement({ attesting, entries: set, clock, log: silent });
  const policy = new BuiltInPolicy({
    defaultX509SvidTtl: HOUR,
    defaultJwtSvidTtl: 5 * MINUTE,
    defaultWitSvidTtl: HOUR,
    maxX509SvidTtl: 24 * HOUR,
    maxJwtSvidTtl: HOUR,
    maxWitSvidTtl: 24 * HOUR,
    maxAudiences: 4,
    maxTokens: 100,
  });
  const ledger = new MemoryLedger(clock, BOOT_ID);
  const revocation = new Revocation({ authority, ledger, clock, log: silent, ...REVOCATION });
  const issuer = new Issuer({ policy, authority, ledger, revocation, keyType: 'ec-p256', clock, log: silent });
  const parts = {
    entitlement,
    entries: set,
    authority,
    federated,
    issuer,
    revocation,
    contexts,
    admit: () => {
      if (fault.admission) throw new MayflyError('OVERLOADED', 'too many');
      admitted.total += 1;
      admitted.now += 1;
      return () => {
        admitted.now -= 1;
      };
    },
    clock,
    log: silent,
    random: () => 0.5,
  };
  const leases = new Leases(parts);
  return {
    clock,
    fault,
    minted,
    attestations,
    found,
    contexts,
    admitted,
    federated,
    policy,
    issuer,
    ledger,
    revocation,
    leases,
    authority,
    entries: set,
    replaceEntries: (changed: readonly WrittenEntry[]) => set.set(new EntryIndex(changed)),
    /** Another table over the same parts, as the next agent has; whoever asks for it closes it. */
    again: () => new Leases(parts),
    async close() {
      leases.close();
      issuer.close();
      revocation.close();
      await local.close();
      rmSync(dataDir, { recursive: true });
    },
  };
}

/** The identities that a workload is told of, without what it is told when the lists alone have changed. */
export async function* identitiesOf(workload: Workload, signal: AbortSignal): AsyncGenerator<X509Update> {
  let told: X509Update | undefined;
  for await (const { update } of workload.x509(signal)) {
    if (update !== told) yield update;
    told = update;
  }
}

/** Follows a stream: each update is awaited with `next`, and `ended` holds the error that it ended with. */
export function follow<T>(make: (signal: AbortSignal) => AsyncIterable<T>) {
  const stop = new AbortController();
  const received: T[] = [];
  const ended = Promise.withResolvers<unknown>();
  let over: { readonly error: unknown } | undefined;
  let wake = Promise.withResolvers<void>();
  const read = async () => {
    try {
      for await (const update of make(stop.signal)) {
        received.push(update);
        wake.resolve();
      }
      over = { error: undefined };
    } catch (error) {
      over = { error };
    }
    ended.resolve(over.error);
    wake.resolve();
  };
  void read();
  return {
    received,
    ended: ended.promise,
    stop: () => stop.abort(),
    /** Resolves with the `count`-th update (from 1) once it is there. @throws the stream's end, when it came before */
    async at(count: number): Promise<T> {
      while (received.length < count) {
        if (over !== undefined) throw over.error ?? new Error('the stream ended without an error');
        await wake.promise;
        wake = Promise.withResolvers<void>();
      }
      return received[count - 1] as T;
    },
  };
}
