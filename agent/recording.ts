import { createHash } from 'node:crypto';
import { readVersion } from './kernel/build.ts';
import type { Latest } from './kernel/latest.ts';
import type { Ledger } from './ledger/ledger.ts';
import type { PolicyRules } from './policy/built-in.ts';
import type { EntrySet } from './registry/entry-set.ts';

/** What is known of an agent when it starts. */
export interface StartFacts {
  readonly trustDomain: string;
  readonly proof: string;
  readonly entries: Latest<EntrySet>;
  readonly policy: PolicyRules;
}

/** Tells the ledger what no stage tells it: that the agent started and how the one before it ended, and which entries and policy hold. */
export class Recording {
  readonly #ledger: Ledger;
  readonly #stop = new AbortController();
  #policy: string;

  constructor(ledger: Ledger, { entries, policy, proof, trustDomain }: StartFacts) {
    this.#ledger = ledger;
    this.#policy = digestOf(policy);
    const { before } = ledger;
    if (before !== undefined && !before.stopped) {
      ledger.note({ type: 'agent.crashed', last_seq: before.lastSeq, last_time: before.lastTime });
    }
    ledger.note({
      type: 'agent.started',
      version: readVersion(),
      pid: process.pid,
      trust_domain: trustDomain,
      proof,
      entries: entries.value?.digest ?? '',
      policy: this.#policy,
    });
    void this.#follow(entries);
  }

  /** Tells of a policy that is another one. */
  policy(rules: PolicyRules): void {
    const digest = digestOf(rules);
    if (digest === this.#policy) return;
    this.#policy = digest;
    this.#ledger.note({ type: 'policy.changed', digest });
  }

  close(): void {
    this.#stop.abort();
  }

  async #follow(entries: Latest<EntrySet>): Promise<void> {
    let known = entries.value?.digest;
    for await (const { digest, entries: list } of entries.follow(this.#stop.signal)) {
      if (digest === known) continue;
      known = digest;
      this.#ledger.note({ type: 'entries.changed', digest, count: list.length });
    }
  }
}

function digestOf(rules: PolicyRules): string {
  return createHash('sha256').update(JSON.stringify(rules)).digest('hex');
}
