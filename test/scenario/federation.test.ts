import { spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseTrustDomain } from '../../agent/kernel/spiffe-id.ts';
import { parseBundle } from '../../agent/svid/bundle-json.ts';
import type { LaunchOptions } from '../support/daemon.ts';
import { Daemon, MAIN, mayfly, plainEnvironment } from '../support/daemon.ts';
import { entry, Home } from '../support/home.ts';
import { eventually, JsonLines } from '../support/json-lines.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const OWN_UID = [`unix:uid:${process.getuid?.()}`];
/** What whoever is to be told must have been told in. */
const SOON_MS = 1000;

/** An agent, the other trust domain whose bundle it is given, and a workload that follows its identity all the time. */
class Side implements AsyncDisposable {
  readonly name: string;
  readonly other: string;
  readonly home: Home;
  #daemon: Daemon | undefined;
  #witness: WorkloadClient | undefined;

  constructor(name: string, other: string, config: string) {
    this.name = name;
    this.other = other;
    this.home = new Home({ 'own.yaml': this.entry(true) }, `${this.bundles}\n${config}`, name);
  }

  get bundles(): string {
    return `bundles: [ { trust_domain: ${this.other}, file: other.json } ]`;
  }

  /** Where the other's bundle is looked for. */
  get file(): string {
    return this.home.path('other.json');
  }

  get daemon(): Daemon {
    if (this.#daemon === undefined) throw new Error('the agent does not run');
    return this.#daemon;
  }

  get witness(): WorkloadClient {
    if (this.#witness === undefined) throw new Error('nobody follows');
    return this.#witness;
  }

  entry(federates: boolean): string {
    return entry('own', OWN_UID, federates ? [`federates_with: [ ${this.other} ]`] : [], this.name);
  }

  async start(options: LaunchOptions = {}): Promise<void> {
    await this[Symbol.asyncDispose]();
    this.#daemon = await Daemon.start(this.home, options);
    this.#witness = new WorkloadClient(this.home.socket);
    await this.#witness.x509();
  }

  /** `mayfly bundle export` of this side. */
  export(...options: string[]): ReturnType<typeof mayfly> {
    return mayfly(['--admin-socket', this.home.adminSocket, 'bundle', 'export', ...options]);
  }

  /** Gives the bundle of this side to the other, as an operator does. */
  async giveTo({ file }: Side): Promise<void> {
    expect(await this.export('--write', file)).toMatchObject({ code: 0, stderr: '' });
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

  /** The roots in the other's file. */
  given(): string {
    const { x509Authorities } = parseBundle(parseTrustDomain(this.other), readFileSync(this.file, 'utf8'));
    return x509Authorities.map((der) => new X509Certificate(der).fingerprint256).join();
  }

  async token(): Promise<string> {
    const { tokens } = await this.witness.tell('jwt anybody', 'jwt');
    return tokens[0] ?? '';
  }

  validates(token: string) {
    return this.witness.tell(`validate ${token} anybody`, 'validated', 'refused');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#witness?.[Symbol.asyncDispose]();
    await this.#daemon?.stop();
    this.#witness = undefined;
    this.#daemon = undefined;
  }
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
  for (const side of [here, there]) {
    await side[Symbol.asyncDispose]();
    side.home.remove();
  }
});

test('two agents start without the other’s bundle, and say that they wait for it', async () => {
  for (const side of [here, there]) {
    expect(await side.daemon.healthy('bundles')).toBe(false);
    expect((await side.daemon.status()).warnings).toEqual([
      `bundle of ${side.other} could not be loaded, the last good state is in force: ${side.file}: does not exist`,
    ]);
    expect(await side.trustedNow()).toBe('');
  }
  expect(await here.validates(await there.token())).toMatchObject({ event: 'refused', code: 'INVALID_ARGUMENT' });
});

test('given the other’s file, workloads of each trust the other’s roots, and each agent validates the other’s tokens', async () => {
  const marks = [here.witness.said.mark, there.witness.said.mark] as const;
  await Promise.all([there.giveTo(here), here.giveTo(there)]);
  await here.trusts(here.given(), marks[0]);
  await there.trusts(there.given(), marks[1]);
  for (const [at, of] of [
    [here, there],
    [there, here],
  ] as const) {
    expect(await at.daemon.healthy('bundles')).toBe(true);
    expect((await at.daemon.status()).warnings).toEqual([]);
    expect(await at.validates(await of.token())).toEqual({ event: 'validated', id: `spiffe://${of.name}/own` });
  }
  first = readFileSync(here.file, 'utf8');
});

test('new keys of one are trusted by the other before they sign, within a second of their export', async () => {
  const before = { token: await there.token(), roots: here.given() };
  const exporter = spawn(
    process.execPath,
    [MAIN, '--admin-socket', there.home.adminSocket, '--json', 'bundle', 'export', '--write', here.file, '--follow'],
    { env: plainEnvironment(), stdio: ['ignore', 'pipe', 'ignore'] },
  );
  try {
    const exported = new JsonLines<{ readonly spiffe_sequence: number }>(exporter.stdout);
    const { spiffe_sequence: sequence } = await exported.first(() => true, 'the first export');
    const mark = here.witness.said.mark;
    // With keys of another type successors are made at once.
    await there.start({ args: ['--set', 'authority.key_type=ec-p384'] });
    await exported.first(({ spiffe_sequence }) => spiffe_sequence > sequence, 'the export of the new keys');
    await here.trusts(here.given(), mark);
    expect(here.given().split(',')).toEqual([before.roots, expect.any(String)]);
    expect(await here.validates(before.token)).toMatchObject({ event: 'validated' });

    await there.daemon.logged('authority.rotated', 0, ({ jwt_key }) => jwt_key !== kidOf(before.token));
    token = await there.token();
    expect(kidOf(token)).not.toBe(kidOf(before.token));
    expect(await here.validates(token)).toEqual({ event: 'validated', id: 'spiffe://other.org/own' });
  } finally {
    exporter.kill();
    await once(exporter, 'close');
  }
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
    const warning = await eventually('status says so', async () => (await here.daemon.status()).warnings[0]);
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
