import { randomBytes, X509Certificate } from 'node:crypto';
import { mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeRoot } from '../../agent/authority/keys.ts';
import { parseTrustDomain } from '../../agent/kernel/spiffe-id.ts';
import { formatBundle } from '../../agent/svid/bundle-json.ts';
import { Daemon, mayfly } from '../support/daemon.ts';
import { entry, Home, ownEntry } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { besidesMachine } from '../support/warnings.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const OTHER = parseTrustDomain('other.org');
const OWN_UID = [`unix:uid:${process.getuid?.()}`];
const FILES = `entries: [ entries/*.yaml, config-map/*.yaml, later/deep/*.yaml ]
bundles: [ { trust_domain: other.org, file: other.json } ]`;
const MINUTE = 60_000;

const home = new Home();
let daemon: Daemon;
/** Follows its identities all the time. */
let witness: WorkloadClient;

beforeAll(async () => {
  home.configure(FILES);
  home.write('other.json', newBundle().text);
  layConfigMap('first');
  symlinkSync('..first', home.path('config-map/..data'));
  symlinkSync('..data/map.yaml', home.path('config-map/map.yaml'));
  daemon = await Daemon.start(home);
  witness = new WorkloadClient(home.socket);
  expect((await witness.x509()).hints).toEqual(['first', '']);
});

afterAll(async () => {
  await witness[Symbol.asyncDispose]();
  await daemon[Symbol.asyncDispose]();
  home.remove();
});

/** One version of a ConfigMap, beside the others. */
function layConfigMap(version: string): void {
  home.write(`config-map/..${version}/map.yaml`, entry('map', OWN_UID, [`hint: ${version}`]));
}

/** A bundle file of another trust domain, and the fingerprint of its one root. */
function newBundle(): { text: string; fingerprint: string } {
  const { certificate } = makeRoot(
    { trustDomain: OTHER, keyType: 'ec-p256', now: Date.now(), random: randomBytes },
    60 * MINUTE,
  );
  const text = formatBundle({
    trustDomain: OTHER,
    x509Authorities: [certificate],
    jwtAuthorities: [],
    witAuthorities: [],
    sequence: 1,
    refreshHint: 60,
  });
  return { text, fingerprint: new X509Certificate(certificate).fingerprint256 };
}

function seesHint(hint: string) {
  return witness.update(({ hints }) => hints.includes(hint), `an update with the hint ${hint}`);
}

/** The lifetime of what a process gets that comes now, in milliseconds. */
async function lifetimeNow(): Promise<number> {
  await using newcomer = new WorkloadClient(home.socket);
  const { notBefore, notAfter } = await newcomer.x509();
  return notAfter - notBefore;
}

async function stateOf(name: string) {
  const { sources } = await daemon.status();
  const source = sources.find((each) => each.name === name);
  if (source === undefined) throw new Error(`status says nothing of ${name}`);
  return source;
}

describe('an open stream is told of', () => {
  test('an entry file that is edited', async () => {
    home.write('entries/own.yaml', ownEntry('own', ['hint: edited']));
    expect((await seesHint('edited')).ids).toEqual(['spiffe://example.org/map', 'spiffe://example.org/own']);
  });

  test('one that another is renamed over', async () => {
    home.replace('entries/own.yaml', ownEntry('own', ['hint: renamed']));
    await seesHint('renamed');
  });

  test('a ConfigMap whose links are swapped', async () => {
    layConfigMap('second');
    symlinkSync('..second', home.path('config-map/..tmp'));
    renameSync(home.path('config-map/..tmp'), home.path('config-map/..data'));
    rmSync(home.path('config-map/..first'), { recursive: true });
    await seesHint('second');
    layConfigMap('third');
    symlinkSync('..third', home.path('config-map/..tmp'));
    renameSync(home.path('config-map/..tmp'), home.path('config-map/..data'));
    await seesHint('third');
  });

  test('a directory that appears, and one that goes', async () => {
    mkdirSync(home.path('later'));
    home.write('later/deep/late.yaml', entry('late', OWN_UID));
    const late = 'spiffe://example.org/late';
    await witness.update(({ ids }) => ids.includes(late), 'an update with the late identity');
    const mark = witness.said.mark;
    rmSync(home.path('later'), { recursive: true });
    const after = await witness.said.first((said) => said.event === 'x509', 'an update', mark);
    expect(after).toMatchObject({ ids: ['spiffe://example.org/map', 'spiffe://example.org/own'] });
    expect((await daemon.leases()).map(({ entryId }) => entryId).toSorted()).toEqual(['map', 'own']);
  });

  test('a federated bundle that is replaced', async () => {
    const before = newBundle();
    home.replace('other.json', before.text);
    home.write('entries/own.yaml', ownEntry('own', ['hint: federated', 'federates_with: [ other.org ]']));
    const knows = ({ fingerprint }: { fingerprint: string }) =>
      witness.update(
        ({ federated }) => federated['spiffe://other.org']?.join() === fingerprint,
        'an update with the bundle of other.org',
      );
    await knows(before);
    const after = newBundle();
    home.replace('other.json', after.text);
    await knows(after);

    // One that cannot be read is told, and leaves the last good one.
    home.write('other.json', '{}');
    await eventually('the bundle is told to be bad', async () =>
      (await daemon.healthy('bundles')) ? undefined : true,
    );
    await using newcomer = new WorkloadClient(home.socket);
    expect((await newcomer.x509()).federated).toEqual({ 'spiffe://other.org': [after.fingerprint] });
    home.write('other.json', after.text);
    await eventually('the bundle is good again', async () => (await daemon.healthy('bundles')) || undefined);
  });
});

test('a bad edit keeps the last good entries, and shows in log, status and health', async () => {
  const before = await (async () => {
    await using newcomer = new WorkloadClient(home.socket);
    return (await newcomer.x509()).ids;
  })();
  const ends = witness.said.all.filter(({ event }) => event === 'end');
  const mark = daemon.log.mark;
  home.write('entries/worse.yaml', entry('worse', ['uinx:uid:1']));

  const failed = await daemon.logged('entries.reload_failed', mark);
  expect(failed.level).toBe('error');
  const place = `${home.path('entries/worse.yaml')}:4:18: `;
  expect(failed.msg).toContain(place);
  expect((await stateOf('entries')).error).toContain(place);
  const status = await mayfly(['--admin-socket', home.adminSocket, 'status', '--json']);
  const { warnings, serving } = JSON.parse(status.stdout) as { warnings: string[]; serving: boolean };
  expect(serving).toBe(true);
  expect(besidesMachine(warnings)).toEqual([
    expect.stringMatching(/^entries could not be loaded, the last good state is in force: /),
  ]);
  expect(await daemon.healthy('entries')).toBe(false);
  expect(await daemon.healthy('config')).toBe(true);
  expect(await daemon.healthy('')).toBe(true);
  await using newcomer = new WorkloadClient(home.socket);
  expect((await newcomer.x509()).ids).toEqual(before);

  rmSync(home.path('entries/worse.yaml'));
  await eventually('the entries are well again', async () => (await daemon.healthy('entries')) || undefined);
  expect((await stateOf('entries')).error).toBe('');
  expect(besidesMachine((await daemon.status()).warnings)).toEqual([]);
  expect(witness.said.all.filter(({ event }) => event === 'end')).toEqual(ends);
});

test('defaults and limits of a changed configuration hold for what comes', async () => {
  expect(await lifetimeNow()).toBe(60 * MINUTE + 10_000);
  // The witness', and the test's own.
  const connections = 2;
  const limited = `${FILES}\ndefaults: { x509_svid_ttl: 10m }\npeer: { max_connections_per_uid: ${connections + 1} }`;
  expect(await daemon.healthy('config')).toBe(true);
  const mark = daemon.log.mark;
  home.configure(limited);
  await daemon.logged('config.reloaded', mark);
  expect(await lifetimeNow()).toBe(10 * MINUTE + 10_000);

  await eventually('earlier processes are gone', async () =>
    (await daemon.status()).peer?.connections === connections ? true : undefined,
  );
  await using newcomer = new WorkloadClient(home.socket);
  await newcomer.x509('one');
  expect(await newcomer.tell('jwt audience two', 'jwt', 'refused')).toMatchObject({ code: 'UNAVAILABLE' });
  expect(await daemon.refused('too-many-connections-of-user')).toBeGreaterThan(0);
  expect((await newcomer.tell('jwt audience one', 'jwt', 'refused')).event).toBe('jwt');
});

test('a key that needs a restart refuses the whole configuration', async () => {
  const before = await stateOf('config');
  const mark = daemon.log.mark;
  home.configure(`${FILES}\ndefaults: { x509_svid_ttl: 20m }\nauthority: { ca_ttl: 48h }`);
  const failed = await daemon.logged('config.reload_failed', mark);
  expect(failed.msg).toContain(
    `${home.config}:8:22: authority.ca_ttl cannot change while the agent runs, so that nothing of this configuration is used`,
  );
  expect(await daemon.healthy('config')).toBe(false);
  expect(await stateOf('config')).toMatchObject({ generation: before.generation, digest: before.digest });
  expect(await lifetimeNow()).toBe(10 * MINUTE + 10_000);

  home.configure(`${FILES}\ndefaults: { x509_svid_ttl: 20m }`);
  await eventually('the configuration is well again', async () => (await daemon.healthy('config')) || undefined);
  expect(await lifetimeNow()).toBe(20 * MINUTE + 10_000);
});
