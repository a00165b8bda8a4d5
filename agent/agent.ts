import { join } from 'node:path';
import { tenantOf } from './attest/container/container-of.ts';
import { Contexts } from './attest/contexts.ts';
import { AttestationRunner } from './attest/runner.ts';
import { attestorsOf } from './attestors.ts';
import { LocalAuthority } from './authority/local.ts';
import type { Config } from './config/config.ts';
import type { Reloadable } from './config/reloadable.ts';
import { DataDir } from './data-dir.ts';
import { Admin } from './gen/admin_pb.js';
import { SecretDiscoveryService } from './gen/envoy/service/secret/v3/sds_pb.js';
import { Health } from './gen/health_pb.js';
import { ServerReflection } from './gen/reflection_v1_pb.js';
import { ServerReflection as ServerReflectionAlpha } from './gen/reflection_v1alpha_pb.js';
import { WorkloadExtension } from './gen/workload_extension_pb.js';
import { SpiffeWorkloadAPI } from './gen/workload_pb.js';
import type { Clock } from './kernel/clock.ts';
import type { Log } from './kernel/log.ts';
import { QuietLog } from './kernel/quiet-log.ts';
import { adoptLeases } from './lease/adoption.ts';
import { Drill } from './lease/drill.ts';
import { Issuer } from './lease/issuer.ts';
import { Leases } from './lease/leases.ts';
import { Operator } from './lease/operator.ts';
import { Validation } from './lease/validation.ts';
import { Ledger } from './ledger/ledger.ts';
import { headText } from './ledger/record.ts';
import { monitoringOf } from './monitoring.ts';
import type { Caller } from './peer/callers.ts';
import { strongestProof } from './peer/credentials.ts';
import { ExitWatch } from './peer/exit-watch.ts';
import type { PeerLimits } from './peer/listener.ts';
import { Listener } from './peer/listener.ts';
import { Instances } from './peer/process.ts';
import { readBootId } from './peer/system/proc.ts';
import type { PolicyRules } from './policy/built-in.ts';
import { BuiltInPolicy } from './policy/built-in.ts';
import { Recording } from './recording.ts';
import { Entitlement } from './registry/entitlement.ts';
import { FederatedBundles } from './registry/federated-bundles.ts';
import { entryFilesOf, FileEntries } from './registry/file-entries.ts';
import { Inspector } from './registry/inspection.ts';
import { Revocation } from './revocation/revocation.ts';
import { admin } from './serve/admin.ts';
import { GrpcServer } from './serve/grpc.ts';
import { health } from './serve/health.ts';
import { reflection, reflectionAlpha } from './serve/reflection.ts';
import { Acknowledgements } from './serve/sds/acknowledgements.ts';
import { secretDiscovery } from './serve/sds/secret-discovery.ts';
import { workloadApi } from './serve/workload-api.ts';
import { workloadExtension } from './serve/workload-extension.ts';
import { healthOf, statusOf } from './status.ts';

/** What an agent is made from: the configuration as it stands and as it will be, time, and where it logs. */
export interface AgentParts {
  readonly config: Reloadable<Config>;
  readonly clock: Clock;
  readonly log: Log;
  /** What is amiss for as long as it runs: a sentence each, for `status`. */
  readonly warnings?: readonly string[];
  /** Called with each new configuration once everything here has taken it over. */
  readonly onReload?: (config: Config) => void;
}

/** A running agent. */
export interface Agent {
  /** Reads configuration, entries and bundles again; a sentence for each that could not be loaded. */
  reload(): Promise<readonly string[]>;
  /** Ends every stream with UNAVAILABLE, then everything, in order. May be called again. */
  stop(): Promise<void>;
}

// Between GOAWAY and the cut of what is still open.
const DRAIN_MS = 1000;

/**
 * Builds every part from the configuration and starts it, in the order in which data flows; when one cannot start, those that have
 * are stopped again.
 *
 * @throws MayflyError with what is wrong and what to do
 */
export async function startAgent({ config: source, clock, log, warnings = [], onReload }: AgentParts): Promise<Agent> {
  const startedAt = clock.now();
  const config = source.latest.value ?? (await source.start());
  await using stack = new AsyncDisposableStack();
  const monitoring = await monitoringOf(config);
  const observer = monitoring?.measurements;

  const dataDir = stack.adopt(DataDir.open(config.dataDir), (dir) => dir.close());
  const proof = strongestProof(config.peer.requirePidfd);
  if (proof !== 'pidfd') {
    log.warn(
      'peer.weaker',
      'this kernel has no SO_PEERPIDFD (Linux 6.5): callers are told apart by pid and start time',
    );
  }
  const authority = stack.adopt(
    LocalAuthority.open({
      ...config.authority,
      witKeyTtl: config.wit.enabled ? config.authority.witKeyTtl : undefined,
      trustDomain: config.trustDomain,
      dataDir: dataDir.path,
      clock,
      log,
    }),
    (it) => it.close(),
  );
  const bootId = readBootId();
  const ledger = stack.adopt(
    await Ledger.open({
      ...config.ledger,
      directory: join(dataDir.path, 'ledger'),
      bootId,
      clock,
      log,
      timed: (stream, ms) => observer?.flushed(stream, ms),
    }),
    (it) => it.close(),
  );
  const entries = stack.adopt(await FileEntries.open(entryFilesOf(config), clock, log), (it) => it.close());
  const bundles = stack.adopt(await FederatedBundles.open(config.bundles, clock, log), (it) => it.close());
  const contexts = new Contexts();
  const attestation = stack.adopt(
    new AttestationRunner(await attestorsOf(config, contexts, clock), {
      clock,
      timed: (attestor, ms) => observer?.attested(attestor, ms),
    }),
    (it) => it.close(),
  );
  const exits = stack.adopt(new ExitWatch(), (it) => it.close());
  const instances = stack.adopt(new Instances(exits, clock), (it) => it.close());
  // Whoever looks at the workloads is none of them.
  const operatorInstances = stack.adopt(new Instances(exits, clock), (it) => it.close());

  const recording = stack.adopt(
    new Recording(ledger, {
      trustDomain: config.trustDomain,
      proof,
      entries: entries.latest,
      policy: policyRules(config),
    }),
    (it) => it.close(),
  );
  const policy = new BuiltInPolicy(policyRules(config));
  const quiet = stack.adopt(new QuietLog(log, clock), (it) => it.close());
  const revocation = stack.adopt(
    new Revocation({ authority, ledger, clock, log, observer, ...config.revocation }),
    (it) => it.close(),
  );
  const issuer = stack.adopt(
    new Issuer({ policy, authority, ledger, revocation, keyType: config.svidKeyType, clock, log: quiet, observer }),
    (it) => it.close(),
  );
  const entitlement = new Entitlement({ attesting: attestation, entries: entries.latest, clock, log: quiet });
  const leases = stack.adopt(
    new Leases({
      entitlement,
      entries: entries.latest,
      authority,
      federated: bundles.latest,
      issuer,
      revocation,
      contexts,
      admit: (instance) => listener.admission.attestation(tenantOf(instance)),
      clock,
      log,
      random: Math.random,
      observer,
    }),
    (it) => it.close(),
  );

  const taken = adoptLeases({ ledger, instances, entries: entries.latest, leases, revocation, log });

  const callersOf = (socket: () => Listener) => ({
    of: (peer: string) => socket().callers.of(peer),
    enterCall: (caller: Caller) => caller.call(),
  });
  const api = new GrpcServer(
    callersOf(() => listener),
    config.peer,
    quiet,
    observer,
  );
  const operators = new GrpcServer(
    callersOf(() => adminListener),
    config.peer,
    quiet,
    observer,
  );
  const reload = async () => {
    await source.reload();
    await Promise.all([entries.reload(), bundles.reload()]);
    return failures();
  };
  const seen = () => ({
    acknowledgements,
    config: { value: source.latest.value ?? config, state: source.state() },
    authority,
    attestation,
    bundles,
    entitlement,
    entries,
    instances,
    issuer,
    ledger,
    leases,
    listener,
    proof,
    revocation,
    taken,
    startedAt,
    streams: api.calls,
    warnings: [...warnings, ...(monitoring?.warnings ?? [])],
  });
  const failures = () =>
    [source.state(), entries.state(), ...bundles.states().map(({ state }) => state)].flatMap(
      ({ lastError }) => lastError?.message ?? [],
    );
  const services = [
    SpiffeWorkloadAPI,
    WorkloadExtension,
    SecretDiscoveryService,
    Health,
    ServerReflection,
    ServerReflectionAlpha,
  ];
  const healthHandlers = health(() => healthOf(seen()), clock);
  const validation = new Validation({ leases, revocation, ledger, clock });
  const profiles = { wit: config.wit.enabled };
  api.add(SpiffeWorkloadAPI, workloadApi(leases, validation, profiles));
  api.add(WorkloadExtension, workloadExtension(validation, profiles));
  const acknowledgements = new Acknowledgements(clock, quiet);
  const sdsConfig = () => (source.latest.value ?? config).sds;
  const sds = secretDiscovery({ leases, config: sdsConfig, acknowledgements });
  api.add(SecretDiscoveryService, sds, ['fetchSecrets']);
  api.add(Health, healthHandlers);
  api.add(ServerReflection, reflection(services));
  api.add(ServerReflectionAlpha, reflectionAlpha(services));
  operators.add(Health, healthHandlers);
  const operator = new Operator({ leases, ledger, revocation });
  const drill = new Drill({ leases, revocation, clock });
  operators.add(
    Admin,
    admin({
      status: () => statusOf(seen()),
      entries: entries.latest,
      leases,
      reload,
      operator,
      instances: operatorInstances,
      inspector: new Inspector({ attesting: attestation, entries: entries.latest, clock }),
      isBarred: (instance, entryId) => revocation.isBarred(instance, entryId),
      drill,
      events: ledger,
      bundle: authority.bundle,
    }),
  );

  const common = { proof, limits: peerLimits(config), tenantOf, log, clock };
  const adminListener = stack.adopt(
    await Listener.open({
      ...common,
      name: 'admin',
      instances: operatorInstances,
      sockets: [{ path: config.adminSocket, mode: 0o600 }],
      inject: (socket) => operators.inject(socket),
    }),
    (it) => it.destroyAll(),
  );
  const listener = stack.adopt(
    await Listener.open({
      ...common,
      name: 'workload',
      instances,
      sockets: [{ path: config.socket, mode: 0o777 }, ...config.sockets],
      asked: (instance) => attestation.anticipate(instance),
      inject: (socket) => api.inject(socket),
    }),
    (it) => it.destroyAll(),
  );

  const stopFollowing = new AbortController();
  if (monitoring !== undefined) {
    const watched = { seen, contexts, stopping: stopFollowing.signal, clock, log: quiet };
    stack.adopt(await monitoring.serve(watched), (it) => it.close());
  }

  const followConfig = async () => {
    for await (const changed of source.latest.follow(stopFollowing.signal)) {
      policy.replaceRules(policyRules(changed));
      recording.policy(policyRules(changed));
      revocation.configure(changed.revocation);
      issuer.replaceKeyType(changed.svidKeyType);
      listener.setLimits(peerLimits(changed));
      adminListener.setLimits(peerLimits(changed));
      // Only a change: reading all files once more at the start would cost a start its time.
      if (changed !== config)
        await Promise.all([entries.configure(entryFilesOf(changed)), bundles.configure(changed.bundles)]);
      onReload?.(changed);
    }
  };
  const following = followConfig();
  log.info('agent.started', `serving ${config.trustDomain} on ${config.socket}`, {
    trust_domain: config.trustDomain,
    socket: config.socket,
    admin_socket: config.adminSocket,
    metrics: config.metrics.listen,
    data_dir: config.dataDir,
    proof,
    entries: entries.latest.value?.entries.length ?? 0,
    ledger_head: headText(ledger.head),
    config_digest: config.digest,
    entries_digest: entries.latest.value?.digest ?? '',
  });
  for (const warning of monitoring?.warnings ?? []) log.warn('monitor.remote', warning);
  for (const warning of entries.warnings()) log.warn('entries.warning', warning);

  const running = stack.move();
  let stopped: Promise<void> | undefined;
  const stop = async () => {
    stopFollowing.abort();
    listener.close();
    adminListener.close();
    await Promise.all([following, api.drain(DRAIN_MS), operators.drain(DRAIN_MS)]);
    await running.disposeAsync();
    log.info('agent.stopped', 'all streams have ended, all keys are dropped', { ledger_head: headText(ledger.head) });
  };
  return {
    reload,
    stop() {
      stopped ??= stop();
      return stopped;
    },
  };
}

function policyRules({ defaults, policy }: Config): PolicyRules {
  return {
    defaultX509SvidTtl: defaults.x509SvidTtl,
    defaultJwtSvidTtl: defaults.jwtSvidTtl,
    defaultWitSvidTtl: defaults.witSvidTtl,
    maxX509SvidTtl: policy.maxX509SvidTtl,
    maxJwtSvidTtl: policy.maxJwtSvidTtl,
    maxWitSvidTtl: policy.maxWitSvidTtl,
    maxAudiences: policy.maxAudiences,
    maxTokens: policy.maxTokens,
  };
}

function peerLimits({ peer }: Config): PeerLimits {
  return { ...peer, maxHeaderBytes: peer.maxHeaderSize };
}
