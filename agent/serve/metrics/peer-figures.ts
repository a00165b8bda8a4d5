import { REFUSAL_REASONS } from '../../peer/refusals.ts';
import { countedBy, counter, gauge, group, samplesBy, truth } from './family.ts';

// What nobody follows is told too: a series that is not there is no zero.
const METHODS = [
  'FetchX509SVID',
  'FetchX509Bundles',
  'FetchJWTBundles',
  'FetchWITSVID',
  'FetchWITBundles',
  'StreamSecrets',
  'DeltaSecrets',
];

/** Who is connected, what is refused to him, and what it takes to know him. */
export const peerFigures = group(
  'Callers',
  {
    mayfly_connections: gauge('Connections to the workload sockets.'),
    mayfly_connections_limit: gauge('How many there may be: peer.max_connections.'),
    mayfly_calls: gauge('Calls under way, streams included.'),
    mayfly_streams: gauge('Open streams, by the method that they came from.', 'method'),
    mayfly_processes: gauge('Processes that are held: connected, or with an identity.'),
    mayfly_peer_refusals_total: counter('Connections, calls and attestations that were refused at once.', 'reason'),
    mayfly_attestations: gauge('Attestations under way.'),
    mayfly_attestations_limit: gauge('How many there may be at the request of callers: peer.max_attestations.'),
    mayfly_attestation_failures_total: counter('Questions that an attestor could not answer.', 'attestor'),
    mayfly_attestor_shortcomings: gauge('What an attestor may not read; mayfly status says what.', 'attestor'),
    mayfly_process_connector: gauge('Whether the kernel tells of an execve or a change of ids at once.'),
    mayfly_process_events_lost_total: counter(
      'How often it lost events, each time made good by a look at all processes.',
    ),
    mayfly_process_look_ratio: gauge('How much of one processor the looks at processes take.'),
    mayfly_sds_responses_total: counter(
      'Responses that proxies took over (accepted) or refused (rejected).',
      'outcome',
    ),
  },
  ({ acknowledgements, attestation, config, instances, leases, listener, streams }) => {
    const attestors = attestation.status();
    const watching = instances.watching();
    const { maxAttestations, maxConnections } = config.value.peer;
    const { counts } = listener.refusals;
    return {
      mayfly_connections: listener.connections,
      mayfly_connections_limit: maxConnections,
      mayfly_calls: streams,
      mayfly_streams: samplesBy(
        'method',
        countedBy(leases.deliveries, ({ method }) => method, METHODS),
      ),
      mayfly_processes: instances.size,
      mayfly_peer_refusals_total: samplesBy(
        'reason',
        REFUSAL_REASONS.map((reason) => [reason, counts.get(reason) ?? 0]),
      ),
      mayfly_attestations: attestation.running,
      mayfly_attestations_limit: maxAttestations,
      mayfly_attestation_failures_total: samplesBy(
        'attestor',
        attestors.map(({ failures, name }) => [name, failures]),
      ),
      mayfly_attestor_shortcomings: samplesBy(
        'attestor',
        attestors.map(({ name, shortcomings }) => [name, shortcomings.length]),
      ),
      mayfly_process_connector: truth(watching.kind === 'process-connector'),
      mayfly_process_events_lost_total: watching.losses,
      mayfly_process_look_ratio: watching.lookPercent / 100,
      mayfly_sds_responses_total: samplesBy('outcome', [
        ['accepted', acknowledgements.accepted],
        ['rejected', acknowledgements.rejected],
      ]),
    };
  },
);
