import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { ReadCrl } from '../support/crl-reader.ts';
import { Daemon, MAIN, mayfly, plainEnvironment } from '../support/daemon.ts';
import { entry, Home, ownEntry } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { HAS_OPENSSL, openssl } from '../support/openssl.ts';
import { WorkloadClient } from '../support/workload-client.ts';
import type { SaidBundles, SaidX509 } from '../support/workload-said.ts';

const uid = `unix:uid:${process.getuid?.()}`;
const OWN = ownEntry();
const home = new Home({ 'own.yaml': OWN });
let daemon: Daemon;

beforeAll(async () => {
  daemon = await Daemon.start(home);
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  home.remove();
});

const serialsIn = (crls: readonly ReadCrl[]) => crls.flatMap(({ serials }) => serials);

/** A process that follows the bundles alone. */
async function watcher(): Promise<WorkloadClient> {
  const client = new WorkloadClient(home.socket);
  await client.tell('bundles', 'bundles');
  return client;
}

function listed(client: WorkloadClient, serial: string): Promise<SaidBundles> {
  return client.said.first(
    (said): said is SaidBundles => said.event === 'bundles' && serialsIn(said.crls).includes(serial),
    `a list with ${serial}`,
  );
}

describe('when a process ends', () => {
  test('its certificate is on the list that others hold, its token is refused, and nobody else notices', async () => {
    await using other = await watcher();
    await using neighbour = new WorkloadClient(home.socket);
    await using workload = new WorkloadClient(home.socket);
    await neighbour.x509();
    const { serial } = await workload.x509();
    const { tokens } = await workload.tell('jwt audience', 'jwt');
    const [token = ''] = tokens;
    expect(await other.tell(`validate ${token} audience`, 'validated', 'refused')).toEqual({
      event: 'validated',
      id: 'spiffe://example.org/own',
    });

    const killed = performance.timeOrigin + performance.now();
    workload.kill();
    const { at, crls } = await listed(other, serial);
    expect(at - killed).toBeLessThan(1000);
    expect(await other.tell(`validate ${token} audience`, 'validated', 'refused')).toMatchObject({
      event: 'refused',
      code: 'INVALID_ARGUMENT',
      details: 'token was revoked (cessationOfOperation)',
    });
    // A list of the issuing CA and one of the root, in which nothing is.
    expect(crls).toHaveLength(2);
    expect(crls.filter(({ serials }) => serials.length === 0)).toHaveLength(1);

    const updates = neighbour.said.all.filter((said): said is SaidX509 => said.event === 'x509');
    expect(new Set(updates.map((update) => update.serial)).size).toBe(1);
    await eventually('followers of certificates are told as well', () =>
      neighbour.said.all.some((said) => said.event === 'x509' && serialsIn(said.crls).includes(serial))
        ? true
        : undefined,
    );
    expect(neighbour.said.all.map(({ event }) => event)).not.toContain('end');
  });

  test('by becoming another program, its identity ends as well', async () => {
    await using other = await watcher();
    await using workload = new WorkloadClient(home.socket);
    const { serial } = await workload.x509();
    const mark = daemon.log.mark;
    workload.send('exec');
    expect(await daemon.logged('lease.ended', mark)).toMatchObject({ reason: 'executed' });
    await listed(other, serial);
    expect(process.kill(workload.pid, 0)).toBe(true);
  });

  test('a list is numbered above the one before and lasts as long as whatever its CA has signed', async () => {
    await using other = await watcher();
    await using workload = new WorkloadClient(home.socket);
    const { serial, notAfter } = await workload.x509();
    workload.kill();
    await listed(other, serial);
    const told = other.said.all.filter((said): said is SaidBundles => said.event === 'bundles');
    const numbers = told.map(({ crls }) => Math.max(...crls.map(({ number }) => number)));
    expect(numbers.length).toBeGreaterThan(1);
    expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b));
    for (const { crls } of told) {
      for (const { nextUpdate, thisUpdate } of crls) {
        expect(nextUpdate).toBeGreaterThan(notAfter);
        expect(thisUpdate).toBeLessThanOrEqual(Date.now());
      }
    }
  });
});

describe('when an identity is taken away', () => {
  test('by its entry, its process is told and its certificate is revoked', async () => {
    await using other = await watcher();
    await using workload = new WorkloadClient(home.socket);
    const { serial } = await workload.x509();
    home.replace('entries/other.yaml', entry('other', [uid]));
    await workload.update(({ ids }) => ids.length === 2, 'both identities');
    home.replace('entries/own.yaml', 'entries: []\n');
    await listed(other, serial);
    const rest = await workload.update(
      ({ ids }) => ids.length === 1 && ids[0]?.endsWith('/other') === true,
      'what is left',
    );
    expect(rest.serial).not.toBe(serial);
    home.replace('entries/own.yaml', OWN);
    home.replace('entries/other.yaml', 'entries: []\n');
    const again = await workload.update(
      ({ ids, serial: now }) => ids.length === 1 && ids[0]?.endsWith('/own') === true && now !== serial,
      'a new one',
    );
    expect(again.serial).not.toBe(serial);
  });

  test('by an operator, its process is not given it again until that is allowed, and others are', async () => {
    await using other = await watcher();
    await using workload = new WorkloadClient(home.socket);
    const { serial } = await workload.x509();
    const revoke = (...args: string[]) => mayfly(['--admin-socket', home.adminSocket, 'revoke', ...args]);
    const revoked = await revoke('--pid', String(workload.pid), '--reason', 'seen elsewhere');
    expect(revoked).toMatchObject({ code: 0, stderr: '' });
    expect(revoked.stdout).toContain(serial);
    expect(await workload.says('end')).toMatchObject({ code: 'PERMISSION_DENIED', details: 'no identity issued' });
    await listed(other, serial);

    expect(await workload.tell('x509', 'x509', 'end')).toMatchObject({ code: 'PERMISSION_DENIED' });
    expect(await workload.tell('jwt audience', 'jwt', 'refused')).toMatchObject({ code: 'PERMISSION_DENIED' });
    await using neighbour = new WorkloadClient(home.socket);
    await neighbour.x509();

    const allowed = await revoke('--pid', String(workload.pid), '--reason', 'it was a drill', '--allow-reissue');
    expect(allowed).toMatchObject({ code: 0, stderr: '' });
    expect((await workload.x509('another')).serial).not.toBe(serial);
  });
});

describe.skipIf(!HAS_OPENSSL)('openssl (skipped without openssl)', () => {
  test('accepts the living and refuses the dead, checking all lists of the chain', async () => {
    await using other = await watcher();
    await using living = new WorkloadClient(home.socket);
    await using dying = new WorkloadClient(home.socket);
    const [alive, dead] = await Promise.all([living.x509(), dying.x509()]);
    dying.kill();
    const { crls } = await listed(other, dead.serial);
    const verify = ({ chain, roots }: SaidX509) => {
      const [leaf = '', issuing = ''] = chain.match(/-----BEGIN[^]*?END CERTIFICATE-----\n/g) ?? [];
      const files = {
        'leaf.pem': leaf,
        'issuing.pem': issuing,
        'roots.pem': roots + crls.map(({ pem }) => pem).join(''),
      };
      for (const [name, text] of Object.entries(files)) writeFileSync(home.path(name), text);
      return openssl([
        'verify',
        '-x509_strict',
        '-crl_check_all',
        '-CAfile',
        home.path('roots.pem'),
        '-untrusted',
        home.path('issuing.pem'),
        home.path('leaf.pem'),
      ]);
    };
    expect(verify(alive)).toMatchObject({ status: 0, output: expect.stringContaining('leaf.pem: OK') });
    expect(verify(dead).output).toContain('certificate revoked');
  });

  test('does so with the files that are kept for programs', async () => {
    // Where nobody has died before: a list that was just written would hold up the next for half a minute.
    const quiet = new Home({ 'own.yaml': OWN });
    onTestFinished(() => quiet.remove());
    await using _agent = await Daemon.start(quiet);
    await using dying = new WorkloadClient(quiet.socket);
    const { chain } = await dying.x509();
    const files = quiet.path('kept');
    const watch = spawn(process.execPath, [MAIN, '--socket', quiet.socket, 'watch', '--write', files], {
      env: plainEnvironment(),
      stdio: 'ignore',
    });
    const verify = (path: string) =>
      openssl([
        'verify',
        '-crl_check_all',
        '-CAfile',
        join(files, 'bundle.pem'),
        '-CRLfile',
        join(files, 'crl.pem'),
        '-untrusted',
        path,
        path,
      ]);
    const stolen = quiet.path('stolen.pem');
    writeFileSync(stolen, chain);
    try {
      await eventually('the files are there', () => existsSync(join(files, 'crl.pem')) || undefined);
      expect(verify(join(files, 'svid.pem'))).toMatchObject({ status: 0 });
      expect(verify(stolen)).toMatchObject({ status: 0 });
      dying.kill();
      await eventually('the dead is refused', () => verify(stolen).output.includes('certificate revoked') || undefined);
      expect(verify(join(files, 'svid.pem'))).toMatchObject({ status: 0 });
    } finally {
      watch.kill();
    }
  });
});
