import type { ReloadState } from '../../config/reloadable.ts';
import { readBuild } from '../../kernel/build.ts';
import { counter, gauge, group, samplesBy, seconds, truth } from './family.ts';

const { commit: revision = '', version } = readBuild();

/** What the agent is, whether it serves, and what it has read of files. */
export const agentFigures = group(
  'The agent',
  {
    mayfly_build_info: gauge(
      'Always 1; the version of the agent, the commit that it was made from, and the version of Node.',
      'version',
      'revision',
      'node_version',
    ),
    mayfly_ready: gauge('Whether the agent serves: 1 when /readyz answers 200.'),
    mayfly_healthy: gauge('Whether a part is well, by its name in grpc.health.v1.', 'part'),
    mayfly_weaker_mode: gauge(
      'Whether callers are told apart by pid and start time, since the kernel has no SO_PEERPIDFD.',
    ),
    mayfly_reload_failing: gauge(
      'Whether the newest files could not be loaded: the last good ones are in force.',
      'source',
    ),
    mayfly_reload_failures_total: counter('Loads of files that failed.', 'source'),
    mayfly_loaded_timestamp_seconds: gauge('When what is in force was loaded.', 'source'),
    mayfly_entries: gauge('Entries in force.'),
    mayfly_entry_warnings: gauge('What is allowed in entries and probably not meant; mayfly status says what.'),
    mayfly_template_shortcomings: gauge(
      'Reasons for which processes got nothing of a template within the last hour; mayfly status says which.',
    ),
    mayfly_federated_bundle_failing: gauge(
      "Whether another trust domain's newest bundle could not be loaded.",
      'trust_domain',
    ),
    mayfly_authority_key_expiry_timestamp_seconds: gauge(
      'When the newest key of a use ends; a successor is made long before.',
      'use',
    ),
  },
  ({ authority, bundles, config, entitlement, entries, health, proof, ready }) => {
    const bundleStates = bundles.states();
    const states: readonly (readonly [string, ReloadState])[] = [
      ['config', config.state],
      ['entries', entries.state()],
    ];
    const bundleFailures = bundleStates.reduce((sum, { state }) => sum + state.failures, 0);
    return {
      mayfly_build_info: [{ labels: { version, revision, node_version: process.version }, value: 1 }],
      mayfly_ready: truth(ready),
      mayfly_healthy: [...health]
        .filter(([part]) => part !== '')
        .map(([part, well]) => ({ labels: { part }, value: truth(well) })),
      mayfly_weaker_mode: truth(proof !== 'pidfd'),
      mayfly_reload_failing: samplesBy('source', [
        ...states.map(([name, { lastError }]) => [name, truth(lastError !== undefined)] as const),
        ['bundles', truth(bundleStates.some(({ state }) => state.lastError !== undefined))],
      ]),
      mayfly_reload_failures_total: samplesBy('source', [
        ...states.map(([name, { failures }]) => [name, failures] as const),
        ['bundles', bundleFailures],
      ]),
      mayfly_loaded_timestamp_seconds: samplesBy(
        'source',
        states.map(([name, { loadedAt }]) => [name, seconds(loadedAt)] as const),
      ),
      mayfly_entries: entries.latest.value?.entries.length ?? 0,
      mayfly_entry_warnings: entries.warnings().length,
      mayfly_template_shortcomings: entitlement.shortcomings().length,
      mayfly_federated_bundle_failing: bundleStates.map(({ state, trustDomain }) => ({
        labels: { trust_domain: trustDomain },
        value: truth(state.lastError !== undefined),
      })),
      mayfly_authority_key_expiry_timestamp_seconds: samplesBy('use', newestKeys(authority.status().keys)),
    };
  },
);

function newestKeys(keys: readonly { readonly use: string; readonly notAfter: number }[]): ReadonlyMap<string, number> {
  const newest = new Map<string, number>();
  for (const { notAfter, use } of keys) newest.set(use, Math.max(newest.get(use) ?? 0, seconds(notAfter)));
  return newest;
}
