import type { Contexts } from '../../attest/contexts.ts';
import type { AttestationRunner } from '../../attest/runner.ts';
import type { Authority } from '../../authority/authority.ts';
import type { Config } from '../../config/config.ts';
import type { ReloadState } from '../../config/reloadable.ts';
import type { Leases } from '../../lease/leases.ts';
import type { Ledger } from '../../ledger/ledger.ts';
import type { Proof } from '../../peer/credentials.ts';
import type { Listener } from '../../peer/listener.ts';
import type { Instances } from '../../peer/process.ts';
import type { Entitlement } from '../../registry/entitlement.ts';
import type { EntrySource } from '../../registry/entry-source.ts';
import type { FederatedBundles } from '../../registry/federated-bundles.ts';
import type { Revocation } from '../../revocation/revocation.ts';
import type { HealthState } from '../health.ts';
import type { Acknowledgements } from '../sds/acknowledgements.ts';
import type { Disk } from './disk.ts';
import type { EntryLabels } from './entry-labels.ts';

/** What metrics are read of: the agent's parts, and what the composition root makes of them. */
export interface MetricSources {
  readonly acknowledgements: Acknowledgements;
  readonly attestation: AttestationRunner;
  readonly authority: Authority;
  readonly bundles: FederatedBundles;
  readonly config: { readonly value: Config; readonly state: ReloadState };
  readonly contexts: Contexts;
  readonly entitlement: Entitlement;
  readonly entries: EntrySource;
  readonly health: HealthState;
  readonly instances: Instances;
  readonly leases: Leases;
  readonly ledger: Ledger;
  readonly listener: Listener;
  /** By the wall clock. */
  readonly now: number;
  readonly proof: Proof;
  readonly ready: boolean;
  readonly revocation: Revocation;
  /** Calls under way. */
  readonly streams: number;
}

/** What one scrape reads. */
export interface Scrape extends MetricSources {
  /** Of the file system that `data_dir` is on; `undefined` when it does not answer. */
  readonly disk: Disk | undefined;
  readonly entryLabels: EntryLabels;
}
