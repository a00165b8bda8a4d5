import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { EntrySpec } from './agent.ts';
import { Agent, entry, FEDERATED_DOMAIN, TRUST_DOMAIN } from './agent.ts';
import { keyOf, leadsTo, leafOf, serialOf } from './certificates.ts';
import type { Identity, Token, Update } from './client.ts';
import { Client } from './client.ts';
import type { Equipment } from './equipment.ts';
import { equipped } from './equipment.ts';
import type { Consumer } from './evidence/evidence.ts';
import { cell, duration, evidence, quirk } from './evidence/evidence.ts';

/** How a client library differs from the others; what a user of it has to know stands in docs/compatibility.md, once a test has passed. */
export interface Traits {
  /** Whether it tells the hint of an X.509-SVID. */
  readonly hints: boolean;
  /** What it says of `PERMISSION_DENIED`. */
  readonly denied: RegExp;
  /** What it says when it finds that a token is for somebody else, or changed. */
  readonly wrongAudience: RegExp;
  readonly wrongSignature: RegExp;
  /** What it says when it asks an agent that does not run. */
  readonly unreachable: RegExp;
  /** What its source does with an identity whose entry is withdrawn. What it says then, where it drops it. */
  readonly withdrawn: 'keeps' | RegExp;
  /** Whether it waits for an agent that does not run yet. What it says, where it does not. */
  readonly early: 'waits' | RegExp;
}

// A source reconnects on a connection of its own, after a backoff of its own.
const RECOVERY = { timeout: 20_000, interval: 50 };

/** What every client library gets from the agent, each against a real daemon and from a process of its own. */
export function workloadContract(consumer: Consumer<'libraries'>, client: Equipment, traits: Traits): void {
  equipped(consumer.name, [client], () => {
    describe('with identities that stay', () => theSteadyState(consumer, client, traits));

    it('sees a new hint, a new bundle and a new entry', evidence(cell(consumer, 'updates')), async () => {
      await using world = await watching(client, [entry('first', { hint: 'internal' })]);
      const { agent, workload } = world;
      const [first] = (await workload.update(0)).svids as [Identity];
      expect(hintsOf(await workload.update(0))).toEqual(traits.hints ? ['internal'] : [undefined]);
      expect(Object.keys((await workload.update(0)).bundles)).toEqual([TRUST_DOMAIN]);

      // To a client that shows no hints nothing has changed.
      let seen = 1;
      if (traits.hints) {
        agent.setEntries([entry('first', { hint: 'public' })]);
        const hinted = await workload.update(seen++);
        expect(hintsOf(hinted)).toEqual(['public']);
        expect(hinted.svids.map(serialOf)).toEqual([serialOf(first)]);
      }

      const federating = entry('first', { hint: 'public', federates_with: [FEDERATED_DOMAIN] });
      agent.setEntries([federating]);
      const federated = await workload.update(seen++);
      expect(Object.keys(federated.bundles).toSorted()).toEqual([TRUST_DOMAIN, FEDERATED_DOMAIN]);
      expect(federated.svids.map(serialOf)).toEqual([serialOf(first)]);

      agent.setEntries([federating, entry('second')]);
      const both = await workload.update(seen++);
      expect(idsOf(both)).toEqual([idOf('first'), idOf('second')]);
      expect(both.svids.map(serialOf)[0]).toBe(serialOf(first));
      const second = both.svids[1] as Identity;
      expect(keyOf(second)).not.toBe(keyOf(first));

      agent.setEntries([entry('second')]);
      const left = await workload.update(seen++);
      expect(idsOf(left)).toEqual([idOf('second')]);
      expect(left.svids.map(serialOf)).toEqual([serialOf(second)]);
      await vi.waitFor(async () => expect((await workload.ask('source')).id).toBe(idOf('second')), RECOVERY);
      // Nothing of it was told twice, and the watcher has never given up.
      expect(workload.of('update')).toHaveLength(seen);
      expect(workload.of('ended')).toEqual([]);
    });

    it('sees a key of a foreign trust domain go', evidence(cell(consumer, 'bundles')), async () => {
      await using world = await watching(client, [entry('first', { federates_with: [FEDERATED_DOMAIN] })]);
      const { agent, workload } = world;
      const before = await workload.ask('bundle', { trustDomain: FEDERATED_DOMAIN });
      expect(before.jwt).toEqual(['ec', 'rsa']);
      agent.setFederatedKeys(['ec']);
      await vi.waitFor(async () => {
        const after = await workload.ask('bundle', { trustDomain: FEDERATED_DOMAIN });
        expect(after).toEqual({ x509: before.x509, jwt: ['ec'] });
      }, RECOVERY);
    });

    it('is told of a withdrawal, and of a return', withdrawalEvidence(consumer, traits), async () => {
      await using world = await watching(client, [entry('first')]);
      const { agent, workload } = world;
      const [first] = (await workload.update(0)).svids as [Identity];

      agent.setEntries([]);
      await vi.waitFor(() => expect(workload.ask('fetch')).rejects.toThrow(traits.denied), RECOVERY);
      await expect(workload.ask('jwt', { audience: ['anyone'] })).rejects.toThrow(traits.denied);
      const { withdrawn } = traits;
      if (withdrawn === 'keeps') {
        expect(serialOf(await workload.ask('source'))).toBe(serialOf(first));
      } else {
        await vi.waitFor(() => expect(workload.ask('source')).rejects.toThrow(withdrawn), RECOVERY);
      }

      agent.setEntries([entry('first')]);
      const returned = await workload.update(1);
      expect(idsOf(returned)).toEqual([idOf('first')]);
      expect(returned.svids.map(serialOf)).not.toEqual([serialOf(first)]);
      await vi.waitFor(async () => {
        expect(serialOf(await workload.ask('source'))).toBe(serialOf(returned.svids[0] as Identity));
      }, RECOVERY);
      expect(workload.of('update')).toHaveLength(2);
      expect(workload.of('ended')).toEqual([]);
    });

    const ROTATION = 'sees each rotation at a lifetime of 10 s, well before the last certificate ends';
    it(ROTATION, evidence(cell(consumer, 'rotation')), async () => {
      await using world = await watching(client, [entry('brief', { x509_svid_ttl: '10s' })]);
      const { workload } = world;
      const told: { value: Update; at: number }[] = [];
      for (const index of [0, 1, 2]) {
        told.push({ value: await workload.update(index), at: (await workload.event('update', index)).at });
      }

      const identities = told.map(({ value }) => value.svids[0] as Identity);
      expect(new Set(identities.map(serialOf)).size).toBe(3);
      expect(new Set(identities.map(keyOf)).size).toBe(3);
      for (const [index, { at }] of told.entries()) {
        const before = identities[index - 1];
        // It is renewed with 45 to 55 % left.
        if (before !== undefined) expect(leafOf(before).validToDate.getTime() - at).toBeGreaterThan(2500);
        expect(leadsTo(identities[index] as Identity, told[index]?.value.bundles[TRUST_DOMAIN] ?? [])).toBe(true);
      }
      await vi.waitFor(async () => {
        expect(serialOf(await workload.ask('source'))).toBe(serialOf(identities[2] as Identity));
      }, RECOVERY);
      expect(workload.of('error')).toEqual([]);
    });

    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const name = `recovers by itself when the agent ends by ${signal} and comes back`;
      it(name, evidence(duration(consumer, 'restart')), async ({ task }) => {
        await using world = await watching(client, [entry('first')]);
        const { agent, workload } = world;
        const before = await workload.update(0);
        const bundle = await workload.ask('bundle', { trustDomain: TRUST_DOMAIN });

        expect(await agent.end(signal)).toBe(signal === 'SIGTERM' ? 0 : 'SIGKILL');
        expect(serialOf(await workload.ask('source'))).toBe(serialOf(before.svids[0] as Identity));
        await agent.start();
        const back = performance.now();

        await vi.waitFor(async () => {
          expect(serialOf(await workload.ask('source'))).not.toBe(serialOf(before.svids[0] as Identity));
        }, RECOVERY);
        task.meta.tookMs = performance.now() - back;
        const after = await workload.update(1);
        expect(idsOf(after)).toEqual([idOf('first')]);
        expect(serialOf(await workload.ask('source'))).toBe(serialOf(after.svids[0] as Identity));
        expect(after.bundles).toEqual(before.bundles);
        const token = await workload.ask('jwt', { audience: ['anyone'] });
        expect((await workload.ask('verify', { token: token.token, audience: ['anyone'] })).id).toBe(idOf('first'));
        expect(await workload.ask('bundle', { trustDomain: TRUST_DOMAIN })).toEqual(bundle);
        expect(workload.of('ended')).toEqual([]);
      });
    }

    const STOPPED = 'does with what it holds while the agent is stopped, and says that it is';
    it(STOPPED, evidence(cell(consumer, 'stopped', 'goes on with what it has')), async () => {
      await using world = await watching(client, [entry('first')]);
      const { agent, workload } = world;
      const held = await workload.ask('source');
      const { token } = await workload.ask('jwt', { audience: ['anyone'] });
      const asked = { token, audience: ['anyone'] };
      const address = await workload.ask('listen', { expect: idOf('first') });
      await agent.end('SIGTERM');

      await expect(workload.ask('fetch')).rejects.toThrow(traits.unreachable);
      await expect(workload.ask('jwt', { audience: ['anyone'] })).rejects.toThrow(traits.unreachable);
      await expect(workload.ask('validate', asked)).rejects.toThrow(traits.unreachable);
      expect(await workload.ask('source')).toEqual(held);
      expect((await workload.ask('verify', asked)).id).toBe(idOf('first'));
      const { peer, us, tls } = await workload.ask('open', { address, expect: idOf('first') });
      expect([peer.leaf, us.leaf]).toEqual([held.chain[0], held.chain[0]]);
      expect(tls).toMatch(/1\.3$/);
      expect(workload.of('ended')).toEqual([]);
    });

    it('is started before the agent', earlyEvidence(consumer, traits), async () => {
      await using agent = await Agent.start([entry('first')]);
      await agent.end('SIGTERM');
      await using workload = Client.start(client, agent.socket);
      const watched = workload.ask('watch');
      if (traits.early === 'waits') {
        // The agent takes longer to start than a source takes to find that nobody is there.
        await workload.event('opening', 0);
        await agent.start();
        await watched;
        expect(idsOf(await workload.update(0))).toEqual([idOf('first')]);
      } else {
        await expect(watched).rejects.toThrow(traits.early);
      }
    });
  });
}

function withdrawalEvidence(consumer: Consumer<'libraries'>, { withdrawn }: Traits) {
  const says =
    withdrawn === 'keeps'
      ? 'Told that its entry is withdrawn, a source keeps its last certificate, and uses it until it expires. Questions are refused at once.'
      : 'Told that its entry is withdrawn, a source drops its certificate at once.';
  return evidence(
    cell(consumer, 'withdrawal', withdrawn === 'keeps' ? 'keeps what it has' : 'drops what it has'),
    quirk(consumer, says),
  );
}

function earlyEvidence(consumer: Consumer<'libraries'>, { early }: Traits) {
  return early === 'waits'
    ? evidence(cell(consumer, 'late'))
    : evidence(
        cell(consumer, 'late', 'no'),
        quirk(consumer, 'Fails at once when the socket is missing at its start: start the agent first, or try again.'),
      );
}

function theSteadyState(consumer: Consumer<'libraries'>, client: Equipment, traits: Traits): void {
  let world: Watching;
  let update: Update;
  beforeAll(async () => {
    world = await watching(client, [entry('first', { federates_with: [FEDERATED_DOMAIN] }), entry('second')]);
    update = await world.workload.update(0);
  });
  afterAll(() => world[Symbol.asyncDispose]());

  const hint = traits.hints ? [] : [quirk(consumer, 'Does not tell the hint of an X.509-SVID.')];
  const x509 = evidence(cell(consumer, 'x509'), ...hint);
  it('has an X.509-SVID for each entry, whose chain leads to the bundle', x509, async () => {
    const { workload } = world;
    expect(idsOf(update)).toEqual([idOf('first'), idOf('second')]);
    for (const identity of update.svids) {
      expect(leadsTo(identity, update.bundles[TRUST_DOMAIN] ?? [])).toBe(true);
      expect(leadsTo(identity, update.bundles[FEDERATED_DOMAIN] ?? [])).toBe(false);
      expect(leafOf(identity).subjectAltName).toBe(`URI:${identity.id}`);
    }
    expect((await workload.ask('source')).chain).toEqual(update.svids[0]?.chain);
  });

  it('gets the same certificate in every call of a process, and another process another one', async () => {
    const first = update.svids[0] as Identity;
    expect(serialOf(await world.workload.ask('fetch'))).toBe(serialOf(first));

    await using neighbour = Client.start(client, world.agent.socket);
    const theirs = await neighbour.ask('fetch');
    expect(theirs.id).toBe(first.id);
    expect(serialOf(theirs)).not.toBe(serialOf(first));
    expect(keyOf(theirs)).not.toBe(keyOf(first));
  });

  it('has its own bundle and the federated one, in every source', evidence(cell(consumer, 'bundles')), async () => {
    const own = await world.workload.ask('bundle', { trustDomain: TRUST_DOMAIN });
    expect(own.x509).toEqual(update.bundles[TRUST_DOMAIN]);
    expect(own.x509).toHaveLength(1);
    expect(own.jwt).toHaveLength(1);
    const federated = await world.workload.ask('bundle', { trustDomain: FEDERATED_DOMAIN });
    expect(federated.x509).toEqual(update.bundles[FEDERATED_DOMAIN]);
    expect(federated.x509).toHaveLength(1);
    expect(federated.jwt).toEqual(['ec', 'rsa']);
    expect(Object.keys(update.bundles).toSorted()).toEqual([TRUST_DOMAIN, FEDERATED_DOMAIN]);
  });

  const jwt = evidence(cell(consumer, 'jwt'));
  it('gets a JWT-SVID for its audiences, which the agent and the library validate', jwt, async () => {
    const { workload } = world;
    const jwt = await workload.ask('jwt', { audience: ['db', 'queue'] });
    expect(jwt.id).toBe(idOf('first'));
    expect(jwt.audience.toSorted()).toEqual(['db', 'queue']);
    expect(jwt.expiry * 1000 - Date.now()).toBeGreaterThan(4 * 60_000);
    for (const audience of [['db'], ['queue']]) {
      for (const how of ['validate', 'verify'] as const) {
        expect(await workload.ask(how, { token: jwt.token, audience })).toEqual(jwt satisfies Token);
      }
    }
  });

  it('gets a JWT-SVID for the identity that it names', jwt, async () => {
    const jwt = await world.workload.ask('jwt', { audience: ['db'], subject: idOf('second') });
    expect(jwt.id).toBe(idOf('second'));
    const foreign = { audience: ['db'], subject: idOf('another') };
    await expect(world.workload.ask('jwt', foreign)).rejects.toThrow(traits.denied);
  });

  it('is told that a token is for somebody else', jwt, async () => {
    const { token } = await world.workload.ask('jwt', { audience: ['db'] });
    const asked = { token, audience: ['web'] };
    await expect(world.workload.ask('validate', asked)).rejects.toThrow(/audience/i);
    await expect(world.workload.ask('verify', asked)).rejects.toThrow(traits.wrongAudience);
  });

  it('is told that a token was changed', jwt, async () => {
    const { token } = await world.workload.ask('jwt', { audience: ['db'] });
    const asked = { token: withTurnedBit(token), audience: ['db'] };
    await expect(world.workload.ask('validate', asked)).rejects.toThrow(/signature/i);
    await expect(world.workload.ask('verify', asked)).rejects.toThrow(traits.wrongSignature);
  });
}

interface Watching extends AsyncDisposable {
  readonly agent: Agent;
  readonly workload: Client;
}

/** An agent with a workload that has all sources open. */
async function watching(client: Equipment, entries: readonly EntrySpec[]): Promise<Watching> {
  await using stack = new AsyncDisposableStack();
  const agent = stack.use(await Agent.start(entries));
  const workload = stack.use(Client.start(client, agent.socket));
  await workload.ask('watch');
  const started = stack.move();
  return { agent, workload, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

function idOf(name: string): string {
  return `spiffe://${TRUST_DOMAIN}/${name}`;
}

function idsOf(update: Update): string[] {
  return update.svids.map(({ id }) => id);
}

function hintsOf(update: Update): (string | undefined)[] {
  return update.svids.map(({ hint }) => hint);
}

/** In the middle of the signature: its last character has bits that mean nothing. */
function withTurnedBit(token: string): string {
  const [header, claims, signature] = token.split('.') as [string, string, string];
  const bytes = Buffer.from(signature, 'base64url');
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  return [header, claims, bytes.toString('base64url')].join('.');
}
