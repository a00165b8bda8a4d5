import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../../agent/kernel/clock.ts';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { CannedAgent, FOREIGN_ROOT, newSvid } from './canned-agent.ts';
import type { RunningCommand } from './transcript.ts';
import { run, start } from './transcript.ts';

/** The machine's, but what is to wait waits for a tenth of the time. */
class HastyClock extends SystemClock {
  override after(ms: number, run: () => void) {
    return super.after(ms / 10, run);
  }
}

let agent: CannedAgent;
let running: RunningCommand[];

beforeEach(async () => {
  agent = await CannedAgent.start();
  running = [];
});

afterEach(async () => {
  for (const command of running) await command.interrupt();
  await agent[Symbol.asyncDispose]();
});

function mayfly(...argv: string[]): RunningCommand {
  const env = { SPIFFE_ENDPOINT_SOCKET: `unix://${agent.socket}`, PATH: '/usr/bin:/bin' };
  const command = start(argv, { env, cwd: agent.directory, clock: new HastyClock() });
  running.push(command);
  return command;
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** Waits for as many lines of results. */
async function said(command: RunningCommand, count: number): Promise<string[]> {
  await command.terminal.until(({ out }) => lines(out).length >= count);
  return lines(command.terminal.out);
}

function serialIn(file: string): string {
  return new X509Certificate(readFileSync(file)).serialNumber.toLowerCase();
}

describe('watch', () => {
  test('prints a line for each update that says what is new', async () => {
    const first = await newSvid();
    agent.x509.set({ svids: [first] });
    const watch = mayfly('watch');
    await said(watch, 1);
    const second = await newSvid();
    const updates = [
      { svids: [second] },
      { svids: [{ ...second, bundle: Buffer.concat([second.bundle, FOREIGN_ROOT]) }] },
      { svids: [second, await newSvid({ id: 'spiffe://example.org/b' })], crl: [Buffer.from('x')] },
      { svids: [second], federatedBundles: { 'spiffe://other.org': FOREIGN_ROOT } },
    ];
    for (const [index, update] of updates.entries()) {
      agent.x509.set(update);
      await said(watch, index + 2);
    }
    const { code, stdout, stderr } = await watch.interrupt();
    expect(code).toBe(0);
    const [one, ...rest] = lines(stdout);
    expect(one).toMatch(
      /^[\d-]+ [\d:]+Z {2}spiffe:\/\/example\.org\/payments {2}until [\d-]+ [\d:]+Z \(59m\d+s left\) {2}serial 4d[0-9a-f]{32} {2}first update$/,
    );
    expect(rest.map((line) => line.split('  ').at(-1))).toEqual([
      'new certificate',
      'new bundle',
      'new identities, new certificate, new bundle, new revocation list',
      'new identities, new certificate, new bundle, new federated bundles, new revocation list',
    ]);
    expect(rest[2]).toContain('spiffe://example.org/payments and 1 more  ');
    expect(stderr).toBe('');
    expect(watch.terminal.interruptions).toBe(0);
  });

  test('--json prints one object a line', async () => {
    agent.x509.set({ svids: [await newSvid()] });
    const watch = mayfly('watch', '--json');
    await said(watch, 1);
    agent.x509.set({ svids: [await newSvid()] });
    const [first, second] = (await said(watch, 2)).map((line) => JSON.parse(line) as unknown);
    expect(first).toMatchObject({ changed: ['first update'], svids: [{ spiffe_id: 'spiffe://example.org/payments' }] });
    expect(second).toMatchObject({ at: expect.stringMatching(/Z$/), changed: ['new certificate'] });
  });

  test('survives a restart of the agent, keeps the files meanwhile, and says so once', async () => {
    const directory = join(agent.directory, 'svid');
    agent.x509.set({ svids: [await newSvid()] });
    const watch = mayfly('watch', '--write', directory);
    await said(watch, 1);
    const before = serialIn(join(directory, 'svid.pem'));
    await agent.stop();
    await watch.terminal.until(({ err }) => lines(err).length >= 2);
    expect(watch.terminal.err).toContain('the agent cannot do this: the agent is stopping');
    expect(watch.terminal.err).toMatch(/no agent is running at .*; asking again until there is an answer\n/);
    expect(serialIn(join(directory, 'svid.pem'))).toBe(before);

    await using again = await CannedAgent.start(agent.directory);
    again.x509.set({ svids: [await newSvid()] });
    await said(watch, 2);
    expect(serialIn(join(directory, 'svid.pem'))).not.toBe(before);
    expect(lines(watch.terminal.out)[1]).toMatch(/new certificate$/);
    expect(lines(watch.terminal.err)).toHaveLength(2);
    expect((await watch.interrupt()).code).toBe(0);
  });

  test('waits for an agent that is not there yet', async () => {
    await agent.stop();
    const watch = mayfly('watch');
    await watch.terminal.until(({ err }) => err.includes('no agent is running'));
    await using late = await CannedAgent.start(agent.directory);
    late.x509.set({ svids: [await newSvid()] });
    await said(watch, 1);
    await watch.interrupt();
  });

  test('removes the files when the identity is withdrawn, and has them again when it is back', async () => {
    const directory = join(agent.directory, 'svid');
    const key = join(directory, 'key.pem');
    agent.refusal = new MayflyError('NO_IDENTITY', 'none');
    agent.x509.set({ svids: [await newSvid()] });
    const watch = mayfly('watch', '--write', directory);
    await watch.terminal.until(({ err }) => err.includes('no identity issued'));
    agent.refusal = undefined;
    await said(watch, 1);
    expect(existsSync(key)).toBe(true);

    agent.refusal = new MayflyError('NO_IDENTITY', 'none');
    await agent.stop();
    await using withdrawn = await CannedAgent.start(agent.directory);
    withdrawn.refusal = agent.refusal;
    await watch.terminal.until(({ err }) => err.split('no identity issued').length >= 3);
    await until(() => !existsSync(key));
    withdrawn.refusal = undefined;
    withdrawn.x509.set({ svids: [await newSvid()] });
    expect((await said(watch, 2))[1]).toMatch(/first update$/);
    expect(existsSync(key)).toBe(true);
    await watch.interrupt();
    expect(existsSync(key)).toBe(false);
  });

  test('ends when asking again would not help, and leaves nothing', async () => {
    const directory = join(agent.directory, 'svid');
    agent.refusal = new MayflyError('NOT_OFFERED', 'off');
    const { code, stderr } = await mayfly('watch', '--write', directory).done;
    expect(code).toBe(1);
    expect(stderr).toContain('does not offer this: off');
    expect(existsSync(join(directory, 'key.pem'))).toBe(false);
  });

  test('refuses a directory with files of somebody else before it asks', async () => {
    writeFileSync(join(agent.directory, 'key.pem'), 'foreign');
    const { code, stderr } = await mayfly('watch', '--write', agent.directory).done;
    expect(code).toBe(2);
    expect(stderr).toContain('it has a key.pem that this program did not write');
    expect(agent.streams).toBe(0);
    expect(readFileSync(join(agent.directory, 'key.pem'), 'utf8')).toBe('foreign');
  });
});

describe('watch --write with revocation lists', () => {
  const list = (n: number) => Buffer.from(`list ${n}`);
  const written = (directory: string) => readFileSync(join(directory, 'crl.pem'), 'utf8');

  test('keeps them in a file of their own, which is not there where the agent gives none out', async () => {
    const directory = join(agent.directory, 'svid');
    const svid = await newSvid();
    agent.x509.set({ svids: [svid], crl: [list(1), list(2)] });
    const watch = mayfly('watch', '--write', directory);
    await said(watch, 1);
    expect(written(directory)).toBe(
      [1, 2].map((n) => `-----BEGIN X509 CRL-----\n${list(n).toString('base64')}\n-----END X509 CRL-----\n`).join(''),
    );
    agent.x509.set({ svids: [await newSvid()] });
    await said(watch, 2);
    expect(existsSync(join(directory, 'crl.pem'))).toBe(false);
    expect(existsSync(join(directory, 'svid.pem'))).toBe(true);
    await watch.interrupt();
  });

  test('takes new lists over at once when the last were a while ago, and then not before their time; a certificate never waits', async () => {
    const directory = join(agent.directory, 'svid');
    const svid = await newSvid();
    agent.x509.set({ svids: [svid], crl: [list(1)] });
    const watch = mayfly('watch', '--write', directory);
    await said(watch, 1);
    agent.x509.set({ svids: [svid], crl: [list(2)] });
    expect((await said(watch, 2))[1]).toMatch(/new revocation list$/);
    const began = performance.now();
    for (let n = 3; n < 20; n += 1) agent.x509.set({ svids: [svid], crl: [list(n)] });
    const next = await newSvid();
    agent.x509.set({ svids: [next], crl: [list(20)] });
    expect((await said(watch, 3))[2]).toMatch(/new certificate, new revocation list$/);
    expect(performance.now() - began).toBeLessThan(2000);
    agent.x509.set({ svids: [next], crl: [list(21)] });
    await said(watch, 4);
    // Half a minute, of which this clock lets a tenth pass.
    expect(performance.now() - began).toBeGreaterThan(2000);
    expect(written(directory)).toContain(list(21).toString('base64'));
    await watch.interrupt();
    expect(existsSync(join(directory, 'crl.pem'))).toBe(false);
  });
});

describe('watch --exec', () => {
  test('runs the command with what is new, in its environment', async () => {
    const directory = join(agent.directory, 'svid');
    const out = join(agent.directory, 'out');
    agent.x509.set({ svids: [await newSvid()] });
    const command = `printf '%s\\n' "$MAYFLY_SPIFFE_ID" "$MAYFLY_SERIAL" "$MAYFLY_NOT_AFTER" "$MAYFLY_SVID_FILE" "$MAYFLY_KEY_FILE" "$MAYFLY_BUNDLE_FILE" > ${out}.new && mv ${out}.new ${out}`;
    const watch = mayfly('watch', '--write', directory, '--exec', command);
    await until(() => existsSync(out));
    expect(readFileSync(out, 'utf8').split('\n')).toEqual([
      'spiffe://example.org/payments',
      serialIn(join(directory, 'svid.pem')),
      expect.stringMatching(/^\d{4}-.*Z$/),
      join(directory, 'svid.pem'),
      join(directory, 'key.pem'),
      join(directory, 'bundle.pem'),
      '',
    ]);
    await watch.interrupt();
  });

  test('never runs twice at a time, keeps the files as they are meanwhile, and the newest update wins', async () => {
    const directory = join(agent.directory, 'svid');
    const [log, gate] = [join(agent.directory, 'log'), join(agent.directory, 'gate')];
    agent.x509.set({ svids: [await newSvid()] });
    const command = `echo "begin $MAYFLY_SERIAL" >> ${log}; while [ ! -e ${gate} ]; do sleep 0.02; done; echo "end $MAYFLY_SERIAL" >> ${log}`;
    const watch = mayfly('watch', '--write', directory, '--exec', command);
    await until(() => existsSync(log));
    const first = serialIn(join(directory, 'svid.pem'));
    for (let n = 0; n < 5; n += 1) agent.x509.set({ svids: [await newSvid()] });
    const last = await newSvid();
    const newest = new X509Certificate(last.x509Svid).serialNumber.toLowerCase();
    // It is the last that arrives: the agent sends the newest, the client holds the newest.
    agent.x509.set({ svids: [last] });
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(serialIn(join(directory, 'svid.pem'))).toBe(first);
    expect(lines(readFileSync(log, 'utf8'))).toEqual([`begin ${first}`]);

    writeFileSync(gate, '');
    await until(() => readFileSync(log, 'utf8').includes(`end ${newest}`));
    const said = lines(readFileSync(log, 'utf8')).map((line) => line.split(' ')[0]);
    expect(said.length).toBeLessThan(12);
    expect(said).toEqual(said.map((_, index) => (index % 2 === 0 ? 'begin' : 'end')));
    expect(serialIn(join(directory, 'svid.pem'))).toBe(newest);
    await watch.interrupt();
  });

  test('its failure is told, and the next update runs it again', async () => {
    agent.x509.set({ svids: [await newSvid()] });
    const watch = mayfly('watch', '--exec', 'exit 3');
    await watch.terminal.until(({ err }) => err === 'mayfly: --exec exited with 3\n');
    agent.x509.set({ svids: [await newSvid()] });
    await watch.terminal.until(({ err }) => err === 'mayfly: --exec exited with 3\n'.repeat(2));
    await watch.interrupt();
  });

  test('is killed with all that it started when watch ends', async () => {
    const log = join(agent.directory, 'log');
    agent.x509.set({ svids: [await newSvid()] });
    const watch = mayfly('watch', '--exec', `sleep 60 & echo $! > ${log}.new; mv ${log}.new ${log}; wait`);
    await until(() => existsSync(log));
    const pid = Number(readFileSync(log, 'utf8'));
    const { code, stderr } = await watch.interrupt();
    expect(code).toBe(0);
    expect(stderr).toBe('');
    await until(() => !isAlive(pid));
  });
});

describe('fetch x509 --hold', () => {
  test('shows the identity, then each update, until interrupted', async () => {
    const directory = join(agent.directory, 'svid');
    agent.x509.set({ svids: [await newSvid()] });
    const hold = mayfly('fetch', 'x509', '--hold', '--write', directory);
    await hold.terminal.until(({ err }) => err.includes('holding it until this command is interrupted'));
    expect(hold.terminal.out).toMatch(/^spiffe:\/\/example\.org\/payments\n {2}serial /);
    expect(hold.terminal.err).toContain(`svid.pem, key.pem and bundle.pem are in ${directory}`);
    agent.x509.set({ svids: [await newSvid()] });
    await hold.terminal.until(({ out }) => out.endsWith('new certificate\n'));
    expect(existsSync(join(directory, 'key.pem'))).toBe(true);
    expect((await hold.interrupt()).code).toBe(0);
    expect(existsSync(join(directory, 'key.pem'))).toBe(false);
  });

  test('fails at once when there is nothing to hold', async () => {
    agent.refusal = new MayflyError('NO_IDENTITY', 'none');
    const { code, stderr } = await mayfly('fetch', 'x509', '--hold').done;
    expect(code).toBe(1);
    expect(stderr).toContain('no identity issued');
    expect(agent.streams).toBe(1);
    expect((await run(['fetch', 'x509', '--hold', '--socket', '/nonexistent/a.sock'])).code).toBe(1);
  });
});

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 8000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('it did not come to be in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function isAlive(pid: number): boolean {
  try {
    // A zombie has no executable.
    return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.startsWith('Z') === false;
  } catch {
    return false;
  }
}
