import { afterAll, beforeAll, expect, it } from 'vitest';
import { entry, FEDERATED_DOMAIN, TRUST_DOMAIN } from './agent.ts';
import { keyOf, leadsTo, leafOf, serialOf } from './certificates.ts';
import type { Identity, Token, Update } from './client.ts';
import { Client } from './client.ts';
import type { Equipment } from './equipment.ts';
import type { Consumer } from './evidence/evidence.ts';
import { cell, evidence, quirk } from './evidence/evidence.ts';
import type { Traits } from './traits.ts';
import { idOf, idsOf, type Watching, watching } from './watching.ts';

/** The agent says nothing new. */
export function theSteadyState(consumer: Consumer<'libraries'>, client: Equipment, traits: Traits): void {
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

/** In the middle of the signature: its last character has bits that mean nothing. */
function withTurnedBit(token: string): string {
  const [header, claims, signature] = token.split('.') as [string, string, string];
  const bytes = Buffer.from(signature, 'base64url');
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  return [header, claims, bytes.toString('base64url')].join('.');
}
