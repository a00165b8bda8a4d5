import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SystemClock } from '../../../agent/kernel/clock.ts';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { FederatedBundles } from '../../../agent/registry/federated-bundles.ts';
import { MemoryLog } from '../../support/memory-log.ts';

let directory: string;
let log: MemoryLog;
const opened: FederatedBundles[] = [];
const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mayfly-bundles-'));
  log = new MemoryLog();
});

afterEach(async () => {
  for (const bundles of opened.splice(0)) await bundles.close();
  await rm(directory, { recursive: true });
});

function from(domain: string, name = `${domain}.json`) {
  return { trustDomain: parseTrustDomain(domain), file: join(directory, name) };
}

async function open(...domains: string[]): Promise<FederatedBundles> {
  const bundles = await FederatedBundles.open(
    domains.map((domain) => from(domain)),
    new SystemClock(),
    log,
  );
  opened.push(bundles);
  return bundles;
}

async function write(name: string, ...kids: string[]): Promise<void> {
  await writeNumbered(name, undefined, ...kids);
}

async function writeNumbered(name: string, sequence: number | undefined, ...kids: string[]): Promise<void> {
  await writeKeys(name, sequence, 'jwt-svid', ...kids);
}

async function writeKeys(name: string, sequence: number | undefined, use: string, ...kids: string[]): Promise<void> {
  const keys = kids.map((kid) => ({ ...jwk, kid, use }));
  // Whole or not at all, as whoever publishes a bundle should.
  await writeFile(join(directory, `${name}.new`), JSON.stringify({ keys, spiffe_sequence: sequence }));
  await rename(join(directory, `${name}.new`), join(directory, name));
}

/** Domains and key ids, `a.org:k1+k2 b.org:k3`. */
function shown(bundles: FederatedBundles): string {
  return [...(bundles.latest.value ?? [])]
    .map(([domain, { jwtAuthorities }]) => `${domain}:${jwtAuthorities.map(({ kid }) => kid).join('+')}`)
    .join(' ');
}

async function comesTo(bundles: FederatedBundles, wanted: string): Promise<void> {
  for await (const _ of bundles.latest.follow(AbortSignal.timeout(5000))) {
    if (shown(bundles) === wanted) return;
  }
  throw new Error(`wanted ${wanted}, there is ${shown(bundles)}`);
}

function errors(bundles: FederatedBundles): Record<string, string | undefined> {
  return Object.fromEntries(bundles.states().map(({ trustDomain, state }) => [trustDomain, state.lastError?.message]));
}

describe('federated bundles', () => {
  it('are read from their files, by name, and again when one changes', async () => {
    await write('b.org.json', 'b1');
    await write('a.org.json', 'a1', 'a2');
    const bundles = await open('b.org', 'a.org');
    expect(shown(bundles)).toBe('a.org:a1+a2 b.org:b1');
    const before = bundles.latest.value?.get(parseTrustDomain('a.org'));
    await write('b.org.json', 'b2');
    await comesTo(bundles, 'a.org:a1+a2 b.org:b2');
    expect(bundles.latest.value?.get(parseTrustDomain('a.org'))).toBe(before);
  });

  it('may be missing at the start: that is told, and the file is waited for', async () => {
    await write('a.org.json', 'a1');
    const bundles = await open('a.org', 'b.org');
    expect(shown(bundles)).toBe('a.org:a1');
    expect(errors(bundles)).toEqual({ 'a.org': undefined, 'b.org': `${directory}/b.org.json: does not exist` });
    expect(log.lines.map(({ event, fields }) => `${event} ${String(fields['trust_domain'])}`).toSorted()).toEqual([
      'federated_bundle.reload_failed b.org',
      'federated_bundle.reloaded a.org',
    ]);
    await write('b.org.json', 'b1');
    await comesTo(bundles, 'a.org:a1 b.org:b1');
    expect(errors(bundles)['b.org']).toBeUndefined();
  });

  it('have a value from the start, when there are none too', async () => {
    expect((await open()).latest.value).toEqual(new Map());
  });

  it.each<[string, () => Promise<unknown>, RegExp]>([
    [
      'bad',
      () => writeFile(join(directory, 'a.org.json'), '{"keys": 3}'),
      /a\.org\.json: the bundle of a\.org has no list "keys"/,
    ],
    ['gone', () => rm(join(directory, 'a.org.json')), /a\.org\.json: does not exist/],
  ])('stay in force while their file is %s, and the others go on', async (_, spoil, message) => {
    await write('a.org.json', 'a1');
    await write('b.org.json', 'b1');
    const bundles = await open('a.org', 'b.org');
    await spoil();
    expect(await bundles.reload()).toBe(false);
    expect(errors(bundles)['a.org']).toMatch(message);
    await write('b.org.json', 'b2');
    await comesTo(bundles, 'a.org:a1 b.org:b2');
  });

  it('are withdrawn by a file without keys: no client gets an empty bundle', async () => {
    await write('a.org.json', 'a1');
    const bundles = await open('a.org');
    await write('a.org.json');
    await comesTo(bundles, '');
    expect(errors(bundles)['a.org']).toBeUndefined();
  });

  it('do not go back to an older state, whose keys may have been taken back since', async () => {
    await writeNumbered('a.org.json', 7, 'a7');
    const bundles = await open('a.org');
    const { version } = bundles.latest;
    await writeNumbered('a.org.json', 6, 'a6');
    expect(await bundles.reload()).toBe(false);
    expect(errors(bundles)['a.org']).toBe(
      `${directory}/a.org.json: the bundle of a.org has spiffe_sequence 6, and 7 is in force: it is older; if the trust domain has begun anew, write {"keys": []} first`,
    );
    expect(bundles.latest.version).toBe(version);
    expect(shown(bundles)).toBe('a.org:a7');
  });

  it('do not go back to one that has nothing but WIT keys, which is not empty', async () => {
    await writeNumbered('a.org.json', 7, 'a7');
    const bundles = await open('a.org');
    await writeKeys('a.org.json', 6, 'wit-svid', 'a6');
    expect(await bundles.reload()).toBe(false);
    expect(errors(bundles)['a.org']).toContain('has spiffe_sequence 6, and 7 is in force');
    expect(shown(bundles)).toBe('a.org:a7');
  });

  it.each<[string, number | undefined]>([
    ['the next sequence', 8],
    ['the same sequence', 7],
    ['no sequence', undefined],
    ['a sequence that says nothing', 0],
  ])('take other keys with %s', async (_, sequence) => {
    await writeNumbered('a.org.json', 7, 'a1');
    const bundles = await open('a.org');
    await writeNumbered('a.org.json', sequence, 'a2');
    await comesTo(bundles, 'a.org:a2');
  });

  it('are withdrawn by a file without keys whatever its sequence', async () => {
    await writeNumbered('a.org.json', 7, 'a7');
    const bundles = await open('a.org');
    await writeNumbered('a.org.json', 2);
    await comesTo(bundles, '');
    await writeNumbered('a.org.json', 1, 'a1');
    expect(await bundles.reload()).toBe(false);
    expect(shown(bundles)).toBe('');
  });

  it('begin anew after a file without keys and without a sequence', async () => {
    await writeNumbered('a.org.json', 7, 'a7');
    const bundles = await open('a.org');
    await write('a.org.json');
    await comesTo(bundles, '');
    await writeNumbered('a.org.json', 1, 'a1');
    await comesTo(bundles, 'a.org:a1');
  });

  it('are withdrawn and added by configuration, as one value', async () => {
    await write('a.org.json', 'a1');
    await write('b.org.json', 'b1');
    const bundles = await open('a.org');
    const { version } = bundles.latest;
    await bundles.configure([from('b.org')]);
    expect(shown(bundles)).toBe('b.org:b1');
    expect(bundles.latest.version).toBe(version + 1);
    expect(bundles.states().map(({ trustDomain }) => trustDomain)).toEqual(['b.org']);
  });

  it('stay in force while a file that moved is not good yet', async () => {
    await write('a.org.json', 'a1');
    const bundles = await open('a.org');
    await bundles.configure([from('a.org', 'moved.json')]);
    expect(shown(bundles)).toBe('a.org:a1');
    expect(errors(bundles)['a.org']).toContain('moved.json: does not exist');
    await write('moved.json', 'a2');
    await comesTo(bundles, 'a.org:a2');
  });

  it('do not change after close', async () => {
    await write('a.org.json', 'a1');
    const bundles = await open('a.org');
    await bundles.close();
    await bundles.close();
    await write('a.org.json', 'a2');
    await bundles.configure([]);
    expect(await bundles.reload()).toBe(false);
    expect(shown(bundles)).toBe('a.org:a1');
  });
});
