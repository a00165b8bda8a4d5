import { readdirSync } from 'node:fs';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { AttestationRunner } from './attest/runner.ts';
import type { Authority } from './authority/authority.ts';
import type { Config } from './config/config.ts';
import type { ReloadState } from './config/reloadable.ts';
import type { GetStatusResponseSchema } from './gen/admin_pb.js';
import { readVersion } from './kernel/build.ts';
import type { AdoptionCount } from './lease/adoption.ts';
import type { Issuer } from './lease/issuer.ts';
import type { Leases } from './lease/leases.ts';
import type { Ledger } from './ledger/ledger.ts';
import type { Proof } from './peer/credentials.ts';
import type { Listener } from './peer/listener.ts';
import type { Instances } from './peer/process.ts';
import type { Entitlement } from './registry/entitlement.ts';
import type { EntrySource } from './registry/entry-source.ts';
import type { FederatedBundles } from './registry/federated-bundles.ts';
import type { Revocation } from './revocation/revocation.ts';
import type { HealthState } from './serve/health.ts';
import type { Acknowledgements } from './serve/sds/acknowledgements.ts';

/** What status and health look at. */
export interface Seen {
  readonly acknowledgements: Acknowledgements;
  readonly config: { readonly value: Config; readonly state: ReloadState };
  readonly authority: Authority;
  readonly attestation: AttestationRunner;
  readonly bundles: FederatedBundles;
  readonly entitlement: Entitlement;
  readonly entries: EntrySource;
  readonly instances: Instances;
  readonly issuer: Issuer;
  readonly ledger: Ledger;
  readonly leases: Leases;
  readonly listener: Listener;
  readonly proof: Proof;
  readonly revocation: Revocation;
  /** What was taken over at the start. */
  readonly taken: AdoptionCount;
  readonly startedAt: number;
  readonly streams: number;
  /** What is amiss for as long as it runs. */
  readonly warnings: readonly string[];
}

/** Why the agent does not serve: a sentence each; nothing when it does. */
export function obstacles({ authority, ledger }: Seen): readonly string[] {
  return [
    ...(authority.bundle.value === undefined ? ['the authority has not said yet which keys there are'] : []),
    ...(ledger.writable
      ? []
      : [`nothing is issued, since it cannot be recorded: ${ledger.error ?? 'no reason is known'}`]),
  ];
}

/** The parts of health by name: the last state of files is well when the newest could be loaded. */
export function healthOf(seen: Seen): HealthState {
  const { bundles, config, entries, ledger } = seen;
  const serving = obstacles(seen).length === 0;
  return new Map([
    ['', serving],
    ['SpiffeWorkloadAPI', serving],
    ['ledger', ledger.writable],
    ['config', config.state.lastError === undefined],
    ['entries', entries.state().lastError === undefined],
    ['bundles', bundles.states().every(({ state }) => state.lastError === undefined)],
  ]);
}

/** Everything that an operator may want to know of a running agent. */
export function statusOf(seen: Seen): MessageInitShape<typeof GetStatusResponseSchema> {
  const { authority, attestation, bundles, config, entries, instances, issuer, ledger, leases, listener, revocation } =
    seen;
  const set = entries.latest.value;
  return {
    version: readVersion(),
    pid: process.pid,
    startedAt: timestampFromMs(seen.startedAt),
    trustDomain: config.value.trustDomain,
    socket: config.value.socket,
    moreSockets: config.value.sockets.map(({ path }) => path),
    serving: healthOf(seen).get('') === true,
    warnings: warningsOf(seen),
    peer: {
      proof: seen.proof,
      connections: listener.connections,
      instances: instances.size,
      streams: seen.streams,
      refused: counted(listener.refusals.counts),
      ...watching(instances),
    },
    authority: {
      type: authority.status().type,
      keys: authority.status().keys.map((key) => ({ ...key, notAfter: timestampFromMs(key.notAfter) })),
    },
    sources: [
      source('config', config.state, config.value.digest, 1),
      source('entries', entries.state(), set?.digest ?? '', set?.entries.length ?? 0),
      ...bundles.states().map(({ trustDomain, state }) => source(`bundle of ${trustDomain}`, state, '', 1)),
    ],
    attestors: attestation.status().map(({ name, runs, failures, lastMs, lastFailure, shortcomings }) => ({
      name,
      attested: BigInt(runs),
      failed: BigInt(failures),
      lastMs,
      lastFailure: lastFailure ?? '',
      shortcomings: [...shortcomings],
    })),
    leases: {
      live: [...leases].length,
      x509Issued: BigInt(issuer.counts.x509),
      jwtIssued: BigInt(issuer.counts.jwt),
      witIssued: BigInt(issuer.counts.wit),
      refused: BigInt(issuer.counts.refused),
      failed: BigInt(issuer.counts.failed),
      ended: counted(leases.ended),
    },
    revocation: revocation.status(),
    sds: sdsOf(seen),
    ledger: { ...ledger.status(), adopted: seen.taken.adopted, revokedAtStart: seen.taken.revoked },
    resources: {
      residentBytes: BigInt(process.memoryUsage.rss()),
      descriptors: readdirSync('/proc/self/fd').length,
    },
  };
}

function warningsOf(seen: Seen): string[] {
  const { bundles, config, entitlement, entries, instances, ledger, leases, proof, warnings } = seen;
  const sources: readonly (readonly [string, ReloadState])[] = [
    ['configuration', config.state],
    ['entries', entries.state()],
    ...bundles.states().map(({ trustDomain, state }) => [`bundle of ${trustDomain}`, state] as const),
  ];
  const failing = [...leases].filter(({ wit, x509 }) => (x509.failure ?? wit.failure) !== undefined).length;
  return [
    ...sources.flatMap(([name, { lastError }]) =>
      lastError === undefined
        ? []
        : [`${name} could not be loaded, the last good state is in force: ${lastError.message}`],
    ),
    ...warnings,
    ...(proof === 'pidfd'
      ? []
      : ['callers are told apart by pid and start time: this kernel has no SO_PEERPIDFD (Linux 6.5)']),
    ...(ledger.error === undefined
      ? []
      : [`nothing is issued, since it cannot be recorded; what was issued is served on: ${ledger.error}`]),
    ...(failing === 0 ? [] : [`what ${failing} leases hold could not be renewed when last tried; see mayfly leases`]),
    ...entries.warnings(),
    ...entitlement.shortcomings(),
    ...instances.shortcomings(),
  ];
}

function sdsOf({ acknowledgements: { accepted, last, rejected }, leases }: Seen) {
  const methods = [...leases.deliveries].map(({ method }) => method);
  return {
    streams: methods.filter((method) => method === 'StreamSecrets').length,
    deltaStreams: methods.filter((method) => method === 'DeltaSecrets').length,
    accepted: BigInt(accepted),
    rejected: BigInt(rejected),
    ...(last !== undefined && { lastRejection: { ...last, names: [...last.names], at: timestampFromMs(last.at) } }),
  };
}

function watching(instances: Instances) {
  const { kind, lookPercent, losses, reason } = instances.watching();
  return { watch: kind, watchReason: reason, lookPercent, watchLosses: BigInt(losses) };
}

function counted(counts: ReadonlyMap<string, number>): Record<string, bigint> {
  return Object.fromEntries(Array.from(counts, ([name, count]) => [name, BigInt(count)]));
}

function source(name: string, { generation, loadedAt, lastError }: ReloadState, digest: string, count: number) {
  return {
    name,
    generation: BigInt(generation),
    loadedAt: timestampFromMs(loadedAt),
    digest,
    count,
    ...(lastError !== undefined && { error: lastError.message, failedAt: timestampFromMs(lastError.at) }),
  };
}
