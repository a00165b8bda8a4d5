import { X509Certificate } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LaunchOptions } from '../support/daemon.ts';
import { FederatedAgent } from '../support/federated-agent.ts';
import { eventually } from '../support/json-lines.ts';
import { besidesMachine } from '../support/warnings.ts';
import { WorkloadClient } from '../support/workload-client.ts';

/** What whoever is to be told must have been told in. */
const SOON_MS = 1000;

/** With a workload that follows its identity all the time. */
class Side extends FederatedAgent {
  #witness: WorkloadClient | undefined;

  get witness(): WorkloadClient {
    if (this.#witness === undefined) throw new Error('nobody follows');
    return this.#witness;
  }

  override async start(options: LaunchOptions = {}): Promise<void> {
    await super.start(options);
    this.#witness = new WorkloadClient(this.home.socket);
    await this.#witness.x509();
  }

  override async stop(): Promise<void> {
    await this.#witness?.[Symbol.asyncDispose]();
    this.#witness = undefined;
    await super.stop();
  }

  /** Resolves once the witness has been told, in time, what it may trust of the other trust domain. */
  async trusts(roots: string, after: number): Promise<void> {
    await this.witness.said.first(
      (said) => said.event === 'x509' && trusted(said.federated, this.other) === roots,
      `an update in ${this.name} with these roots of ${this.other}: ${roots}`,
      after,
      SOON_MS,
    );
  }

  /** What a workload that comes now may trust of the other trust domain. */
  async trustedNow(): Promise<string> {
    await using newcomer = new WorkloadClient(this.home.socket);
    return trusted((await newcomer.x509()).federated, this.other);
  }

  async token(): Promise<string> {
    const { tokens } = await this.witness.tell('jwt anybody', 'jwt');
    return tokens[0] ?? '';
  }

  validates(token: string) {
    return this.witness.tell(`validate ${token} anybody`, 'validated', 'refused');
  }
}

/** The roots in the file that a side was given. */
function given(side: Side): string {
  return side
    .given()
    .x509Authorities.map((der) => new X509Certificate(der).fingerprint256)
    .join();
}

/** Fingerprints of roots. */
function trusted(federated: Readonly<Record<string, readonly string[]>>, domain: string): string {
  return federated[`spiffe://${domain}`]?.join() ?? '';
}

function kidOf(token: string): unknown {
  const header = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { kid: unknown };
  return header.kid;
}

const here = new Side('example.org', 'other.org', '');
// A new JWT key signs four seconds after it was published.
const there = new Side('other.org', 'example.org', 'authority: { jwt_key_ttl: 30s }\ndefaults: { jwt_svid_ttl: 10s }');
/** The first bundle of the other trust domain. */
let first = '';
/** A token of it, signed by a key that the first bundle does not have. Clocks may differ by a minute, which is how long it holds. */
let token = '';

beforeAll(async () => {
  await Promise.all([here.start(), there.start()]);
});

afterAll(async () => {
  for (const side of [here, there]) await side[Symbol.asyncDispose]();
});

test('two agents start without the other’s bundle, and say that they wait for it', async () => {
  for (const side of [here, there]) {
    expect(await side.daemon.healthy('bundles')).toBe(false);
    expect(besidesMachine((await side.daemon.status()).warnings)).toEqual([
      `bundle of ${side.other} could not be loaded, the last good state is in force: ${side.file}: does not exist`,
    ]);
    expect(await side.trustedNow()).toBe('');
  }
  expect(await here.validates(await there.token())).toMatchObject({ event: 'refused', code: 'INVALID_ARGUMENT' });
});

test('given the other’s file, workloads of each trust the other’s roots, and each agent validates the other’s tokens', async () => {
  const marks = [here.witness.said.mark, there.witness.said.mark] as const;
  await Promise.all([there.giveTo(here), here.giveTo(there)]);
  await here.trusts(given(here), marks[0]);
  await there.trusts(given(there), marks[1]);
  for (const [at, of] of [
    [here, there],
    [there, here],
  ] as const) {
    expect(await at.daemon.healthy('bundles')).toBe(true);
    expect(besidesMachine((await at.daemon.status()).warnings)).toEqual([]);
    expect(await at.validates(await of.token())).toEqual({ event: 'validated', id: `spiffe://${of.name}/own` });
  }
  first = readFileSync(here.file, 'utf8');
});

test('new keys of one are trusted by the other before they sign, within a second of their export', async () => {
  const before = { token: await there.token(), roots: given(here) };
  await using exported = there.keepGiving(here);
  const { spiffe_sequence: sequence } = await exported.lines.first(() => true, 'the first export');
  const mark = here.witness.said.mark;
  // With keys of another type successors are made at once.
  await there.start({ args: ['--set', 'authority.key_type=ec-p384'] });
  await exported.lines.first(({ spiffe_sequence }) => spiffe_sequence > sequence, 'the export of the new keys');
  await here.trusts(given(here), mark);
  expect(given(here).split(',')).toEqual([before.roots, expect.any(String)]);
  expect(await here.validates(before.token)).toMatchObject({ event: 'validated' });

  await there.daemon.logged('authority.rotated', 0, ({ jwt_key }) => jwt_key !== kidOf(before.token));
  token = await there.token();
  expect(kidOf(token)).not.toBe(kidOf(before.token));
  expect(await here.validates(token)).toEqual({ event: 'validated', id: 'spiffe://other.org/own' });
});

describe('the last good bundle stays, and status says so, while the file', () => {
  test.each<[string, () => string | Promise<string>, RegExp]>([
    ['is half written', () => readFileSync(here.file, 'utf8').slice(0, 500), /the bundle of other\.org is no JSON/],
    ['is of another trust domain', async () => (await here.export()).stdout, /has a root of example\.org, and would/],
    ['is older than what is in force', () => first, /has spiffe_sequence \d+, and \d+ is in force: it is older/],
    ['is gone', () => '', /other\.json: does not exist/],
  ])('%s', async (_, bad, message) => {
    const good = readFileSync(here.file, 'utf8');
    const roots = await here.trustedNow();
    const mark = here.witness.said.mark;
    const text = await bad();
    if (text === '') rmSync(here.file);
    else home(text);
    const warning = await eventually(
      'status says so',
      async () => besidesMachine((await here.daemon.status()).warnings)[0],
    );
    expect(warning).toMatch(/^bundle of other\.org could not be loaded, the last good state is in force: /);
    expect(warning).toMatch(message);
    expect(await here.daemon.healthy('bundles')).toBe(false);
    expect((await here.daemon.status()).serving).toBe(true);
    expect(await here.trustedNow()).toBe(roots);
    expect(await here.validates(token)).toMatchObject({ event: 'validated' });
    home(good);
    await eventually('all is well again', async () => (await here.daemon.healthy('bundles')) || undefined);
    const updates = here.witness.said.all.slice(mark).filter((said) => said.event === 'x509');
    expect(updates.map(({ federated }) => trusted(federated, 'other.org')).filter((each) => each !== roots)).toEqual(
      [],
    );
  });

  const home = (text: string) => here.home.write('other.json', text);
});

describe('trust is withdrawn within a second, and given back,', () => {
  test.each<[string, () => void, () => void]>([
    [
      'by a file without keys',
      () => here.home.replace('other.json', '{"keys": []}'),
      () => here.home.replace('other.json', good()),
    ],
    [
      'by an entry that no longer federates',
      () => here.home.replace('entries/own.yaml', here.entry(false)),
      () => here.home.replace('entries/own.yaml', here.entry(true)),
    ],
    [
      'by a configuration without that trust domain',
      () => here.home.configure(''),
      () => here.home.configure(here.bundles),
    ],
  ])('%s', async (_, withdraw, giveBack) => {
    const roots = await here.trustedNow();
    kept = readFileSync(here.file, 'utf8');
    const before = here.witness.said.mark;
    withdraw();
    await here.trusts('', before);
    expect(await here.validates(token)).toMatchObject({ event: 'refused', code: 'INVALID_ARGUMENT' });
    // To trust is each side's own decision.
    expect(await there.validates(await here.token())).toMatchObject({ event: 'validated' });
    const after = here.witness.said.mark;
    giveBack();
    await here.trusts(roots, after);
    expect(await here.validates(token)).toMatchObject({ event: 'validated' });
    expect(here.witness.said.all.filter(({ event }) => event === 'end')).toEqual([]);
  });

  let kept = '';
  const good = () => kept;
});
