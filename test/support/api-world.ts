import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { Found } from '../../agent/attest/attestor.ts';
import { NOTHING } from '../../agent/attest/attestor.ts';
import { tenantOf } from '../../agent/attest/container/container-of.ts';
import { Contexts } from '../../agent/attest/contexts.ts';
import { AttestationRunner } from '../../agent/attest/runner.ts';
import { NameCache } from '../../agent/attest/unix/name-cache.ts';
import { UnixAttestor } from '../../agent/attest/unix/unix-attestor.ts';
import type { Authority } from '../../agent/authority/authority.ts';
import { LocalAuthority } from '../../agent/authority/local.ts';
import { Admin } from '../../agent/gen/admin_pb.js';
import { SecretDiscoveryService } from '../../agent/gen/envoy/service/secret/v3/sds_pb.js';
import { Health } from '../../agent/gen/health_pb.js';
import { ServerReflection } from '../../agent/gen/reflection_v1_pb.js';
import { ServerReflection as ServerReflectionAlpha } from '../../agent/gen/reflection_v1alpha_pb.js';
import { WorkloadExtension } from '../../agent/gen/workload_extension_pb.js';
import { SpiffeWorkloadAPI } from '../../agent/gen/workload_pb.js';
import { MayflyError } from '../../agent/kernel/errors.ts';
import { Latest } from '../../agent/kernel/latest.ts';
import { parseSelector, type Selector } from '../../agent/kernel/selector.ts';
import type { TrustDomain } from '../../agent/kernel/spiffe-id.ts';
import { parseTrustDomain } from '../../agent/kernel/spiffe-id.ts';
import { Drill } from '../../agent/lease/drill.ts';
import { Issuer } from '../../agent/lease/issuer.ts';
import { Leases } from '../../agent/lease/leases.ts';
import { Operator } from '../../agent/lease/operator.ts';
import { Validation } from '../../agent/lease/validation.ts';
import type { Caller } from '../../agent/peer/callers.ts';
import { strongestProof } from '../../agent/peer/credentials.ts';
import { ExitWatch } from '../../agent/peer/exit-watch.ts';
import { Listener, type PeerLimits } from '../../agent/peer/listener.ts';
import { Instances } from '../../agent/peer/process.ts';
import { Names } from '../../agent/peer/system/names.ts';
import { readBootId } from '../../agent/peer/system/proc.ts';
import { BuiltInPolicy } from '../../agent/policy/built-in.ts';
import { Entitlement } from '../../agent/registry/entitlement.ts';
import type { Entry } from '../../agent/registry/entry.ts';
import { EntryIndex } from '../../agent/registry/entry-index.ts';
import type { EntrySet } from '../../agent/registry/entry-set.ts';
import { Inspector } from '../../agent/registry/inspection.ts';
import { Revocation } from '../../agent/revocation/revocation.ts';
import { admin } from '../../agent/serve/admin.ts';
import { GrpcServer } from '../../agent/serve/grpc.ts';
import type { Handlers } from '../../agent/serve/handlers.ts';
import { health } from '../../agent/serve/health.ts';
import { reflection, reflectionAlpha } from '../../agent/serve/reflection.ts';
import { Acknowledgements } from '../../agent/serve/sds/acknowledgements.ts';
import type { SdsConfig } from '../../agent/serve/sds/proxy.ts';
import { secretDiscovery } from '../../agent/serve/sds/secret-discovery.ts';
import { workloadApi } from '../../agent/serve/workload-api.ts';
import { workloadExtension } from '../../agent/serve/workload-extension.ts';
import type { TrustBundle } from '../../agent/svid/trust-bundle.ts';
import { plainEntry } from './entry.ts';
import { GrpcCaller } from './grpc-caller.ts';
import { HOUR, MINUTE, REVOCATION } from './lease-world.ts';
import { ManualClock } from './manual-clock.ts';
import { MemoryLedger } from './memory-ledger.ts';
import { MemoryLog } from './memory-log.ts';

// One thread for all worlds of a test file.
const exits = new ExitWatch();
afterAll(() => exits.close());

/** An entry for the user who runs the tests. */
export function ownEntry(id: string, terms: Partial<Entry> = {}): Entry {
  return plainEntry(id, { selectors: [parseSelector(`unix:uid:${process.getuid?.() ?? 0}`)], ...terms });
}

/** How SDS is configured where nobody says anything. */
const SDS: SdsConfig = {
  defaultSvidName: 'default',
  defaultBundleName: 'ROOTCA',
  defaultAllBundlesName: 'ALL',
  disableSpiffeCertValidation: false,
};

export interface WorldOptions {
  readonly sds?: Partial<SdsConfig>;
  readonly limits?: Partial<PeerLimits>;
  /** False: no WIT-SVIDs. */
  readonly wit?: boolean;
  /** Puts something around the Workload API's handlers. */
  readonly around?: (
    handlers: Handlers<typeof SpiffeWorkloadAPI, Caller>,
  ) => Handlers<typeof SpiffeWorkloadAPI, Caller>;
}

/**
 * The whole way from a socket to an SVID with its real parts, composed as the agent composes them, for calls of this very process.
 * The clock moves when the test says so; everything is logged in memory; faults are switched on in the authority and in an attestor
 * beside the real one.
 */
export async function apiWorld(entries: readonly Entry[], options: WorldOptions = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'mf-api-'));
  const clock = new ManualClock();
  const log = new MemoryLog();
  const fault = {
    authority: false,
    attestation: undefined as 'fails' | 'hangs' | undefined,
    /** Resolved by a test that has made attestation hang. */
    attestationGoesOn: Promise.withResolvers<void>(),
  };
  /** What the attestor beside the real one says of each process. */
  const found: Selector[] = [];
  const local = LocalAuthority.open({
    trustDomain: parseTrustDomain('example.org'),
    dataDir: directory,
    keyType: 'ec-p256',
    rootTtl: 365 * 24 * HOUR,
    caTtl: 24 * HOUR,
    jwtKeyTtl: 24 * HOUR,
    witKeyTtl: options.wit === false ? undefined : 24 * HOUR,
    nameConstraint: false,
    clock,
    log,
  });
  const mustSign = () => {
    if (fault.authority) throw new MayflyError('AUTHORITY_UNAVAILABLE', 'the authority is away');
  };
  const authority: Authority = {
    bundle: local.bundle,
    crls: local.crls,
    signerExpiresAt: (kind) => local.signerExpiresAt(kind),
    async issueX509(grant, publicKey) {
      mustSign();
      return local.issueX509(grant, publicKey);
    },
    async issueJwt(grant) {
      mustSign();
      return local.issueJwt(grant);
    },
    async issueWit(grant, confirmation) {
      mustSign();
      return local.issueWit(grant, confirmation);
    },
    status: () => local.status(),
    close: () => local.close(),
  };
  const runner = new AttestationRunner(
    [
      new UnixAttestor(new NameCache(new Names(), { clock }), { path: false, sha256: false, clock }),
      {
        name: 'faulty',
        attest(_instance, signal) {
          if (fault.attestation === 'fails') return Promise.reject(new Error('its daemon is down'));
          if (fault.attestation === undefined) return Promise.resolve({ ...NOTHING, selectors: found });
          const { promise, resolve } = Promise.withResolvers<Found>();
          signal.addEventListener('abort', () => resolve(NOTHING), { once: true });
          void fault.attestationGoesOn.promise.then(() => resolve(NOTHING));
          return promise;
        },
        shortcomings: () => [],
        close: () => Promise.resolve(),
      },
    ],
    { clock },
  );
  const set = new Latest<EntrySet>();
  set.set(new EntryIndex(entries));
  const federated = new Latest<ReadonlyMap<TrustDomain, TrustBundle>>();
  const policy = new BuiltInPolicy({
    defaultX509SvidTtl: HOUR,
    defaultJwtSvidTtl: 5 * MINUTE,
    defaultWitSvidTtl: HOUR,
    maxX509SvidTtl: 24 * HOUR,
    maxJwtSvidTtl: HOUR,
    maxWitSvidTtl: 24 * HOUR,
    maxAudiences: 16,
    maxTokens: 1000,
  });
  const ledger = new MemoryLedger(clock, readBootId());
  const revocation = new Revocation({ authority, ledger, clock, log, ...REVOCATION });
  const issuer = new Issuer({ policy, authority, ledger, revocation, keyType: 'ec-p256', clock, log });
  const leases = new Leases({
    entitlement: new Entitlement({ attesting: runner, entries: set, clock, log }),
    entries: set,
    authority,
    federated,
    issuer,
    revocation,
    contexts: new Contexts(),
    admit: (instance) => listener.admission.attestation(tenantOf(instance)),
    clock,
    log,
    random: () => 0.5,
  });
  const validation = new Validation({ leases, revocation, ledger, clock });
  const operator = new Operator({ leases, ledger, revocation });
  const drill = new Drill({ leases, revocation, clock });
  const instances = new Instances(exits, clock);
  const operatorInstances = new Instances(exits, clock);
  const events = { recent: () => ['{"type":"agent.started"}'], subscribe: () => () => {} };
  const callers = { of: (peer: string) => listener.callers.of(peer), enterCall: (caller: Caller) => caller.call() };
  const server = new GrpcServer<Caller>(
    callers,
    { maxMessageSize: 64 * 1024, maxHeaderSize: 16_384, maxCallsPerConnection: 256 },
    log,
  );
  const services = [
    SpiffeWorkloadAPI,
    WorkloadExtension,
    SecretDiscoveryService,
    Health,
    ServerReflection,
    ServerReflectionAlpha,
  ];
  const state = new Map([
    ['', true],
    ['entries', true],
  ]);
  const reloadErrors: string[] = [];
  const profiles = { wit: options.wit ?? true };
  server.add(
    SpiffeWorkloadAPI,
    (options.around ?? ((handlers) => handlers))(workloadApi(leases, validation, profiles)),
  );
  server.add(WorkloadExtension, workloadExtension(validation, profiles));
  const acknowledgements = new Acknowledgements(clock, log);
  let sds: SdsConfig = { ...SDS, ...options.sds };
  server.add(SecretDiscoveryService, secretDiscovery({ leases, config: () => sds, acknowledgements }), [
    'fetchSecrets',
  ]);
  server.add(
    Health,
    health(() => state, clock),
  );
  server.add(ServerReflection, reflection(services));
  server.add(ServerReflectionAlpha, reflectionAlpha(services));
  server.add(
    Admin,
    admin({
      status: () => ({ pid: 7, serving: true }),
      entries: set,
      leases,
      reload: async () => reloadErrors,
      operator,
      instances: operatorInstances,
      inspector: new Inspector({ attesting: runner, entries: set, clock }),
      isBarred: (instance, entryId) => revocation.isBarred(instance, entryId),
      drill,
      events,
      bundle: local.bundle,
    }),
  );
  const path = join(directory, 'api.sock');
  const listener: Listener = await Listener.open({
    name: 'workload',
    sockets: [{ path, mode: 0o777 }],
    proof: strongestProof(false),
    instances,
    tenantOf,
    limits: {
      maxConnections: 100,
      maxConnectionsPerUid: 100,
      maxCallsPerConnection: 100,
      maxAttestations: 16,
      prefaceTimeout: 10_000,
      maxHeaderBytes: 16_384,
      ...options.limits,
    },
    log,
    clock,
    inject: (socket) => server.inject(socket),
  });
  const clients: GrpcCaller[] = [];
  const connect = () => {
    const client = new GrpcCaller(path);
    clients.push(client);
    return client;
  };
  return {
    path,
    clock,
    log,
    fault,
    found,
    acknowledgements,
    /** As a reload of the configuration does. */
    configureSds: (changed: Partial<SdsConfig>) => {
      sds = { ...sds, ...changed };
    },
    issuer,
    ledger,
    revocation,
    leases,
    instances,
    server,
    listener,
    federated,
    state,
    reloadErrors,
    bundle: local.bundle,
    /** The signer behind the world, past every decision and record. */
    signer: local,
    client: connect(),
    connect,
    replaceEntries: (changed: readonly Entry[]) => set.set(new EntryIndex(changed)),
    /** The authority's private keys as they stand on the disk. */
    keysFile: () => readFileSync(join(directory, 'authority', 'keys.json'), 'utf8'),
    async close() {
      fault.attestationGoesOn.resolve();
      for (const client of clients) client.close();
      listener.close();
      await server.drain(1000);
      await listener.destroyAll();
      leases.close();
      issuer.close();
      revocation.close();
      instances.close();
      operatorInstances.close();
      await runner.close();
      await local.close();
      rmSync(directory, { recursive: true });
    },
  };
}

export type ApiWorld = Awaited<ReturnType<typeof apiWorld>>;
