import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseAudiences } from '../../../agent/kernel/audience.ts';
import { isMayflyError, MayflyError } from '../../../agent/kernel/errors.ts';
import { parseSelector } from '../../../agent/kernel/selector.ts';
import type { TrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { parseSpiffeId, parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import type { BundleUpdate, WitUpdate, X509Update } from '../../../agent/lease/updates.ts';
import type { Entry } from '../../../agent/registry/entry.ts';
import { EntryIndex } from '../../../agent/registry/entry-index.ts';
import type { TrustBundle } from '../../../agent/svid/trust-bundle.ts';
import { plainEntry } from '../../support/entry.ts';
import type { TestInstance } from '../../support/instance.ts';
import { livingInstance } from '../../support/instance.ts';
import { follow, identitiesOf, leaseWorld, MINUTE } from '../../support/lease-world.ts';

const UIDS = [1000, 1001];
const other = parseTrustDomain('other.org');
const third = parseTrustDomain('third.org');

/** What a test may do; times in milliseconds, `who` and `which` count round. */
type Command =
  | { readonly do: 'entries'; readonly entries: readonly Template[] }
  | { readonly do: 'federated'; readonly domains: readonly TrustDomain[] }
  | { readonly do: 'own bundle' }
  | { readonly do: 'authority'; readonly away: boolean; readonly slowness: number }
  | { readonly do: 'attestation'; readonly fails: boolean }
  | { readonly do: 'elapse'; readonly ms: number }
  | { readonly do: 'step'; readonly ms: number }
  | { readonly do: 'follow'; readonly kind: Stream['kind']; readonly who: number }
  | { readonly do: 'token'; readonly who: number; readonly audience: string }
  | { readonly do: 'close'; readonly which: number }
  | { readonly do: 'end'; readonly who: number };

interface Template {
  readonly id: string;
  readonly name: string;
  readonly uid: number;
  readonly hint: string;
  readonly dns: boolean;
  readonly federated: boolean;
  /** Milliseconds from when it is put in force. */
  readonly expires: number | undefined;
}

const template = fc.record<Template>({
  id: fc.constantFrom('a', 'b', 'c'),
  name: fc.constantFrom('x', 'y'),
  uid: fc.constantFrom(...UIDS),
  hint: fc.constantFrom('', 'h'),
  dns: fc.boolean(),
  federated: fc.boolean(),
  expires: fc.constantFrom(undefined, undefined, 90_000),
});
const templates = fc.uniqueArray(template, { selector: ({ id }) => id, maxLength: 3 });
const who = fc.nat(3);
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('entries' as const), entries: templates }) },
  fc.record({ do: fc.constant('federated' as const), domains: fc.subarray([other, third]) }),
  fc.constant({ do: 'own bundle' as const }),
  fc.record({ do: fc.constant('authority' as const), away: fc.boolean(), slowness: fc.nat(20) }),
  fc.record({ do: fc.constant('attestation' as const), fails: fc.boolean() }),
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('elapse' as const), ms: fc.constantFrom(0, 700, 5000, 150_000) }),
  },
  fc.record({ do: fc.constant('step' as const), ms: fc.constantFrom(-200_000, -5000, 5000, 200_000) }),
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('follow' as const), kind: fc.constantFrom('x509', 'wit', 'bundles'), who }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('token' as const), who, audience: fc.constantFrom('a', 'b') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('close' as const), which: fc.nat(5) }) },
  fc.record({ do: fc.constant('end' as const), who }),
);

const ENDS = ['NO_IDENTITY', 'POLICY_REFUSED', 'CALLER_UNKNOWN', 'ATTESTATION_FAILED', 'AUTHORITY_UNAVAILABLE'];

function asEntry({ id, name, uid, hint, dns, federated, expires }: Template, now: number): Entry {
  return plainEntry(id, {
    spiffeId: parseSpiffeId(`spiffe://example.org/${id}/${name}`),
    selectors: [parseSelector(`unix:uid:${uid}`)],
    x509SvidTtl: 5 * MINUTE,
    witSvidTtl: 5 * MINUTE,
    hint,
    dnsNames: dns ? ['x.internal'] : [],
    federatesWith: federated ? [other] : [],
    expiresAt: expires === undefined ? undefined : now + expires,
  });
}

interface Stream {
  readonly kind: 'x509' | 'wit' | 'bundles';
  readonly instance: TestInstance;
  readonly followed: ReturnType<typeof follow<X509Update | WitUpdate | BundleUpdate>>;
  over: boolean;
  end: unknown;
}

/** One world, the commands that were done in it, and what has to be true of it. */
class Run {
  readonly #world = leaseWorld([]);
  readonly #instances: TestInstance[] = [0, 1, 2, 3].map((index) => livingInstance(UIDS[index % 2]));
  readonly #everyone = new Set(this.#instances);
  readonly #streams: Stream[] = [];
  readonly #calls: Promise<void>[] = [];
  /** Whose each key, serial and token id was when it was first seen. */
  readonly #owners = new Map<string, TestInstance>();
  #entries: readonly Entry[] = [];
  #federated: ReadonlyMap<TrustDomain, TrustBundle> = new Map();
  #slowness = 0;
  #sequence = 100;

  constructor() {
    const { authority } = this.#world;
    const issueX509 = authority.issueX509.bind(authority);
    const issueJwt = authority.issueJwt.bind(authority);
    const issueWit = authority.issueWit.bind(authority);
    const slowly = async () => {
      for (let turns = this.#slowness; turns > 0; turns -= 1) await Promise.resolve();
    };
    Object.assign(authority, {
      issueX509: async (...given: Parameters<typeof issueX509>) => slowly().then(() => issueX509(...given)),
      issueJwt: async (...given: Parameters<typeof issueJwt>) => slowly().then(() => issueJwt(...given)),
      issueWit: async (...given: Parameters<typeof issueWit>) => slowly().then(() => issueWit(...given)),
    });
  }

  async do(command: Command): Promise<void> {
    const { clock, fault, federated, authority, replaceEntries } = this.#world;
    switch (command.do) {
      case 'entries':
        this.#entries = command.entries.map((each) => asEntry(each, clock.now()));
        replaceEntries(this.#entries);
        break;
      case 'federated':
        this.#federated = new Map(command.domains.map((domain) => [domain, this.#bundleOf(domain)]));
        federated.set(this.#federated);
        break;
      case 'own bundle':
        authority.bundle.set(this.#bundleOf(parseTrustDomain('example.org')));
        break;
      case 'authority':
        fault.authority = command.away;
        this.#slowness = command.slowness;
        break;
      case 'attestation':
        fault.attestation = command.fails ? new MayflyError('ATTESTATION_FAILED', 'cannot tell') : undefined;
        break;
      case 'elapse':
        await clock.elapse(command.ms);
        break;
      case 'step':
        clock.step(command.ms);
        break;
      case 'follow':
        this.#follow(command.kind, this.#who(command.who));
        break;
      case 'token':
        this.#calls.push(this.#token(this.#who(command.who), command.audience));
        break;
      case 'close': {
        const open = this.#streams.filter(({ over }) => !over);
        open[command.which % open.length]?.followed.stop();
        break;
      }
      case 'end': {
        const index = command.who % this.#instances.length;
        const instance = this.#who(index);
        instance.finish(command.who % 2 === 0 ? 'exited' : 'executed');
        this.#instances[index] = livingInstance(instance.uid);
        this.#everyone.add(this.#instances[index]);
        break;
      }
    }
    this.#checkOwners();
  }

  /** Lets everything heal, and compares what streams were told last with what the entries entitle to. */
  async checkQuiet(): Promise<void> {
    const { clock, fault } = this.#world;
    fault.authority = false;
    fault.attestation = undefined;
    // Longer than the longest wait before a try, and than attestation is believed.
    await clock.elapse(40_000);
    await clock.elapse(1500);
    await Promise.all(this.#calls);
    this.#checkOwners();
    for (const stream of this.#streams) this.#checkStream(stream);
    for (const lease of this.#world.leases) expect(lease.instance.end).toBeUndefined();
  }

  /** Closes everything, lets what was issued expire, and finds nothing left. */
  async checkNothingLeft(): Promise<void> {
    const { clock, leases } = this.#world;
    for (const { followed } of this.#streams) followed.stop();
    await clock.elapse(11 * MINUTE);
    expect([...leases].map((lease) => [lease.entry.id, lease.expiresAt - clock.now()])).toEqual([]);
    expect(leases.workloads).toBe(0);
    for (const instance of this.#everyone) expect(instance.holds).toBe(0);
    await this.close();
    expect(clock.alarms).toBe(0);
  }

  async close(): Promise<void> {
    await this.#world.close();
  }

  #checkStream({ kind, instance, followed, over, end }: Stream): void {
    const { clock, authority } = this.#world;
    const index = new EntryIndex(this.#entries);
    const { entries: entitled } = index.match(new Set([parseSelector(`unix:uid:${instance.uid}`)]), clock.now());
    if (over) {
      if (end !== undefined) expect(ENDS).toContain(isMayflyError(end) ? end.code : end);
      return;
    }
    expect(instance.end).toBeUndefined();
    expect(entitled).not.toEqual([]);
    const told = followed.received.at(-1);
    if (kind !== 'wit') {
      const federates = entitled.some(({ federatesWith }) => federatesWith.length > 0);
      const foreign = federates ? this.#federated.get(other) : undefined;
      const { own, federated } = told as BundleUpdate;
      expect(own).toBe(authority.bundle.value);
      expect(federated).toEqual(foreign === undefined ? [] : [foreign]);
    }
    if (kind === 'bundles') return;
    const { svids } = told as X509Update | WitUpdate;
    expect(svids.map(({ svid, hint }) => [svid.spiffeId, hint])).toEqual(
      entitled.map(({ spiffeId, hint }) => [spiffeId, hint]),
    );
    for (const { svid } of svids) {
      expect(svid.privateKey.destroyed).toBe(false);
      expect(svid.notBefore).toBeLessThanOrEqual(clock.now());
      expect(svid.expiresAt).toBeGreaterThan(clock.now());
    }
    for (const lease of this.#world.leases) {
      if (lease.instance !== instance) continue;
      expect(lease[kind].failure).toBeUndefined();
      expect(lease.entry).toBe(entitled.find(({ id }) => id === lease.entry.id));
      expect(lease[kind].isDue(clock.now())).toBe(false);
    }
  }

  #checkOwners(): void {
    for (const { kind, instance, followed } of this.#streams) {
      if (kind === 'bundles') continue;
      for (const { svids } of followed.received as (X509Update | WitUpdate)[]) {
        for (const { svid } of svids) this.#owned('serial' in svid ? svid.serial : svid.jti, instance);
      }
    }
    for (const { instance, wit, x509 } of this.#world.leases) {
      for (const { current } of [wit, x509]) {
        if (current !== undefined) this.#owned(current.privateKey.reveal().toString('hex'), instance as TestInstance);
      }
    }
  }

  #owned(what: string, instance: TestInstance): void {
    expect(this.#owners.get(what) ?? instance).toBe(instance);
    this.#owners.set(what, instance);
  }

  #follow(kind: Stream['kind'], instance: TestInstance): void {
    const workload = this.#world.leases.of(instance);
    const streams = {
      x509: (signal: AbortSignal) => identitiesOf(workload, signal),
      wit: (signal: AbortSignal) => workload.wit(undefined, signal),
      bundles: (signal: AbortSignal) => workload.bundles(signal),
    };
    const followed = follow<X509Update | WitUpdate | BundleUpdate>(streams[kind]);
    const stream: Stream = { kind, instance, followed, over: false, end: undefined };
    const note = async () => {
      stream.end = await followed.ended;
      stream.over = true;
    };
    void note();
    this.#streams.push(stream);
  }

  async #token(instance: TestInstance, audience: string): Promise<void> {
    try {
      const workload = this.#world.leases.of(instance);
      const audiences = parseAudiences([audience]);
      const before = new Set(this.#entries.map(({ spiffeId }) => spiffeId));
      const cached = workload.cachedJwt(audiences, undefined);
      for (const { svid } of cached ?? []) {
        // What is told at once is what is so now.
        expect(before).toContain(svid.spiffeId);
      }
      for (const { svid } of cached ?? (await workload.jwt(audiences, undefined))) this.#owned(svid.jti, instance);
    } catch (error) {
      if (!isMayflyError(error) || !ENDS.includes(error.code)) throw error;
    }
  }

  #who(index: number): TestInstance {
    const instance = this.#instances[index % this.#instances.length];
    if (instance === undefined) throw new Error('nobody');
    return instance;
  }

  #bundleOf(trustDomain: TrustDomain): TrustBundle {
    const { value } = this.#world.authority.bundle;
    if (value === undefined) throw new Error('no bundle');
    this.#sequence += 1;
    return { ...value, trustDomain, sequence: this.#sequence };
  }
}

test('whatever happens in whatever order: streams come to what is so, nothing is shared, nothing is left', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 40 }), async (commands) => {
      const run = new Run();
      try {
        for (const each of commands) await run.do(each);
        await run.checkQuiet();
        await run.checkNothingLeft();
      } finally {
        await run.close().catch(() => undefined);
      }
    }),
    { numRuns: 60 },
  );
});
