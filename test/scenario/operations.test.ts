import { spawn } from 'node:child_process';
import { appendFileSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Daemon, type Ended, MAIN, mayfly, plainEnvironment, refusal, sentence } from '../support/daemon.ts';
import { Home, ownEntry } from '../support/home.ts';
import { JsonLines } from '../support/json-lines.ts';
import { WorkloadClient } from '../support/workload-client.ts';

interface LedgerLine {
  readonly type: string;
  readonly [field: string]: unknown;
}

const home = new Home({ 'own.yaml': ownEntry('own', ['owner: team@example.org']) });
let daemon: Daemon;

beforeAll(async () => {
  daemon = await Daemon.start(home);
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  home.remove();
});

const admin = (...args: string[]) => mayfly(['--admin-socket', home.adminSocket, ...args]);
const audit = (of: Home, ...args: string[]) => mayfly(['audit', ...args, '--config', of.config]);

/** The newest file of the issuance ledger. */
function newestSegment(of: Home): string {
  const folder = join(of.dataDir, 'ledger');
  const names = readdirSync(folder).filter((name) => name.startsWith('issuance-'));
  return join(folder, names.toSorted().at(-1) ?? '');
}

describe('what operators see', () => {
  test('events as they happen: issued, ended, revoked', async () => {
    const child = spawn(process.execPath, [MAIN, '--admin-socket', home.adminSocket, 'events', '--follow'], {
      env: plainEnvironment(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const events = new JsonLines<LedgerLine>(child.stdout);
    try {
      // The first one that is seen tells that it follows.
      await using first = new WorkloadClient(home.socket);
      const follows = async () => {
        for (;;) {
          await first.tell(`jwt audience-${Math.random()}`, 'jwt');
          if (events.all.length > 0) return;
        }
      };
      await follows();
      await using workload = new WorkloadClient(home.socket);
      const { serial } = await workload.x509();
      await events.first(({ type, serial: of }) => type === 'svid.issued' && of === serial, 'the issuance');
      workload.kill();
      const ended = await events.first(({ type }) => type === 'lease.ended', 'the end');
      expect(ended).toMatchObject({ reason: 'exited', entry: 'own', owner: 'team@example.org' });
      const revoked = await events.first(({ type }) => type === 'svid.revoked', 'the revocation');
      expect(revoked).toMatchObject({
        reason: 'cessationOfOperation',
        lease: ended['lease'],
        certificates: [{ serial }],
      });
    } finally {
      child.kill();
    }
    const recent = await admin('events');
    const types = recent.stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as LedgerLine).type);
    expect(types).toContain('svid.revoked');
  });

  test('an identity’s whole story, while the agent runs and by its files alone', async () => {
    await using workload = new WorkloadClient(home.socket);
    await using other = new WorkloadClient(home.socket);
    const { serial } = await workload.x509();
    const [token = ''] = (await workload.tell('jwt reports', 'jwt')).tokens;
    await other.tell(`validate ${token} reports`, 'validated');
    const mark = daemon.log.mark;
    workload.kill();
    await daemon.logged('lease.ended', mark);
    await other.tell(`validate ${token} reports`, 'refused');
    const story = await admin('audit', 'trace', serial);
    expect(story).toMatchObject({ code: 0, stderr: '' });
    for (const word of [
      serial,
      String(workload.pid),
      'own',
      'team@example.org',
      'reports',
      'exited',
      'cessationOfOperation',
    ]) {
      expect(story.stdout).toContain(word);
    }
    expect(story.stdout).not.toContain(token);
    expect(await audit(home, 'trace', serial)).toMatchObject({ code: 0, stdout: story.stdout });
    const nothing = await audit(home, 'trace', 'abcdef');
    expect(nothing).toMatchObject({ code: 1, stdout: '' });
  });

  test('a drill that rotates, and one that revokes, and how long each stream took', async () => {
    await using workload = new WorkloadClient(home.socket);
    await using other = new WorkloadClient(home.socket);
    const { serial } = await workload.x509();
    await other.tell('bundles', 'bundles');
    for (const way of ['stream', 'delta']) await workload.tell(`secrets ${way} ${way}`, 'secrets');
    const rotated = await admin('drill', '--pid', String(workload.pid), '--json');
    expect(rotated).toMatchObject({ code: 0, stderr: '' });
    const next = await workload.update(({ serial: now }) => now !== serial, 'the new certificate');
    expect(JSON.parse(rotated.stdout)).toMatchObject({
      leases: [{ pid: workload.pid, old_serial: serial, new_serial: next.serial }],
      subscribers: expect.arrayContaining(
        ['FetchX509SVID', 'StreamSecrets', 'DeltaSecrets'].map((method) =>
          expect.objectContaining({ pid: workload.pid, method, what: 'certificate', told: true }),
        ),
      ),
    });

    const revoked = await admin('drill', '--pid', String(workload.pid), '--revoke', '--json');
    expect(revoked).toMatchObject({ code: 0, stderr: '' });
    const { subscribers } = JSON.parse(revoked.stdout) as {
      subscribers: { pid: number; what: string; told: boolean }[];
    };
    expect(subscribers.map(({ pid, told, what }) => [pid, what, told])).toEqual(
      expect.arrayContaining([
        [workload.pid, 'end', true],
        [other.pid, 'list', true],
      ]),
    );
    const [old = ''] = other.said.all.flatMap((said) =>
      said.event === 'bundles'
        ? said.crls.flatMap(({ serials }) => serials.filter((each) => each === next.serial))
        : [],
    );
    expect(old).toBe(next.serial);
    // It was a drill: its process is given another at once.
    expect((await workload.x509('after')).serial).not.toBe(next.serial);
  });

  test('what does not exist is a sentence, and revokes nothing', async () => {
    await using workload = new WorkloadClient(home.socket);
    await workload.x509();
    const before = (await daemon.status()).revocation?.certificates;
    const refusals: readonly (readonly [string[], number])[] = [
      [['--serial', 'abcdef', '--reason', 'r'], 1],
      [['--jti', 'nobody', '--reason', 'r'], 1],
      [['--pid', '1', '--reason', 'r'], 1],
      [['--entry', 'nobody', '--reason', 'r'], 1],
      [['--pid', String(workload.pid)], 2],
      [['--pid', String(workload.pid), '--entry', 'own', '--reason', 'r'], 2],
      [['--all', '--reason', 'r'], 2],
    ];
    for (const [args, code] of refusals) {
      const said: Ended = await admin('revoke', ...args);
      expect([args, said.code, said.stdout]).toEqual([args, code, '']);
      expect(said.stderr).toMatch(/^mayfly: .+\n$/);
    }
    expect((await daemon.status()).revocation?.certificates).toBe(before);
    expect(await daemon.leases()).toMatchObject([{ pid: workload.pid }]);
  });
});

describe('a ledger that somebody has touched', () => {
  async function stopped(): Promise<{ home: Home; head: string }> {
    const own = new Home();
    await using agent = await Daemon.start(own);
    await using workload = new WorkloadClient(own.socket);
    await workload.x509();
    expect((await agent.stop()).code).toBe(0);
    const head = (await audit(own, 'head')).stdout.trim();
    return { home: own, head };
  }

  test('is found out: a changed record, a cut tail with the head, and a start that stops', async () => {
    const { home: own, head } = await stopped();
    try {
      expect(head).toMatch(/^\d+:[0-9a-f]{64}$/);
      expect(await audit(own, 'verify', '--head', head)).toMatchObject({ code: 0 });
      const segment = newestSegment(own);
      const whole = readFileSync(segment);
      const lines = whole.toString().trimEnd().split('\n');

      truncateSync(segment, whole.length - (lines.at(-1)?.length ?? 0) - 1);
      expect(await audit(own, 'verify')).toMatchObject({ code: 0 });
      expect(await audit(own, 'verify', '--head', head)).toMatchObject({ code: 1 });

      const third = lines[2] ?? '';
      writeFileSync(segment, whole.toString().replace(third, third.replace('"boot_id":"', '"boot_id":"0')));
      const changed = await audit(own, 'verify');
      expect(changed.code).toBe(1);
      expect(changed.stdout + changed.stderr).toContain(`${segment.split('/').at(-1)}`);

      writeFileSync(segment, whole.toString().replace(`${third}\n`, ''));
      const refused = await refusal(own);
      expect(refused.code).toBe(1);
      expect(sentence(refused.stderr)).toContain('audit verify');
    } finally {
      own.remove();
    }
  });

  test('by a crash in the middle of a record is mended, and says so', async () => {
    const { home: own } = await stopped();
    try {
      appendFileSync(newestSegment(own), '{"_hash":"00');
      await using agent = await Daemon.start(own);
      expect(readFileSync(newestSegment(own), 'utf8')).toContain('"type":"ledger.repaired"');
      expect((await agent.stop()).code).toBe(0);
      expect(await audit(own, 'verify')).toMatchObject({ code: 0 });
    } finally {
      own.remove();
    }
  });
});
