import type { Socket } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { CannedAgent } from './canned-agent.ts';
import type { Surroundings } from './transcript.ts';
import { jsonOf, run, start } from './transcript.ts';

let agent: CannedAgent;

beforeEach(async () => {
  agent = await CannedAgent.start();
});

afterEach(() => agent[Symbol.asyncDispose]());

const surroundings = (): Surroundings => ({ env: { SPIFFE_ENDPOINT_SOCKET: `unix://${agent.socket}` } });
const mayfly = (argv: readonly string[]) => run(argv, surroundings());

const ESCAPE = '\u001b';
const PAYMENTS = 'spiffe://example.org/payments';

describe('revoke', () => {
  test('prints what it ended and what is barred, and how to lift that', async () => {
    agent.revocation = {
      revoked: [
        {
          leaseId: 'l1',
          pid: 4711,
          entryId: 'payments',
          spiffeId: PAYMENTS,
          serials: ['4d01', '4d02'],
          jtis: ['j1'],
          ended: true,
          barred: true,
        },
      ],
    };
    expect(await mayfly(['revoke', '--pid', '4711', '--reason', 'stolen'])).toEqual({
      code: 0,
      stderr: '',
      stdout: [
        'PID   SPIFFE ID                      ENTRY     REVOKED           LEASE',
        '4711  spiffe://example.org/payments  payments  certificate 4d01  ended, process barred',
        '                                               certificate 4d02',
        '                                               token j1',
        'the barred process gets no such identity again until it is started anew, or until: mayfly revoke --pid 4711 --allow-reissue --reason TEXT',
        '',
      ].join('\n'),
    });
    expect(agent.asked).toMatchObject([
      { target: { case: 'pid', value: 4711 }, reason: 'stolen', allowReissue: false, reasonCode: 'keyCompromise' },
    ]);
    const { code, stdout } = await mayfly(['revoke', '--pid', '4711', '--reason', 'stolen', '--json']);
    expect(code).toBe(0);
    expect(jsonOf(stdout)).toMatchObject({
      revoked: [{ pid: 4711, serials: ['4d01', '4d02'], barred: true }],
      allowed: 0,
    });
  });

  test('says of a single token that the lease goes on, and of several processes one way to lift what bars them', async () => {
    const revoked = { entryId: 'e', spiffeId: PAYMENTS, serials: ['4d'], ended: true, barred: true };
    agent.revocation = { revoked: [{ pid: 1, entryId: 'e', spiffeId: PAYMENTS, jtis: ['j'] }] };
    expect((await mayfly(['revoke', '--jti', 'j', '--reason', 'r'])).stdout).toBe(
      `PID  SPIFFE ID                      ENTRY  REVOKED  LEASE\n1    ${PAYMENTS}  e      token j  goes on\n`,
    );
    agent.revocation = {
      revoked: [
        { pid: 1, ...revoked },
        { pid: 2, ...revoked },
      ],
      allowed: 3,
    };
    const { stdout } = await mayfly(['revoke', '--entry', 'e', '--reason', 'r']);
    expect(stdout.match(/--allow-reissue/g)).toHaveLength(1);
    expect(stdout).toContain('barred processes get no such identity again');
    expect(stdout).toContain('--pid PID');
    expect(stdout).toContain('no longer barred from earlier: 3 processes\n');
  });

  test('answers no when there was nothing to revoke, and yes when a bar was lifted or all was meant', async () => {
    const nothing = 'nothing was revoked: no living process has that, and nothing of it is still valid\n';
    expect(await mayfly(['revoke', '--entry', 'e', '--reason', 'r'])).toEqual({ code: 1, stdout: nothing, stderr: '' });
    expect((await mayfly(['revoke', '--all', '--yes', '--reason', 'r'])).code).toBe(0);
    agent.revocation = { allowed: 1 };
    expect(await mayfly(['revoke', '--pid', '9', '--allow-reissue', '--reason', 'r'])).toEqual({
      code: 0,
      stdout: `${nothing}no longer barred from earlier: 1 process\n`,
      stderr: '',
    });
    expect(agent.asked.at(-1)).toMatchObject({ allowReissue: true });
  });

  test.each([
    ['4D:01:aB', '4d01ab'],
    ['0x4d01ab', '4d01ab'],
    ['0X004D01AB', '4d01ab'],
    ['000d', 'd'],
    [' 4d01 ', '4d01'],
  ])('takes a serial as tools print it: %s', async (spelled, serial) => {
    await mayfly(['revoke', '--serial', spelled, '--reason', 'r']);
    expect(agent.asked).toMatchObject([{ target: { case: 'serial', value: serial } }]);
  });

  test('means a container, a pod or a unit by what names it', async () => {
    await mayfly(['revoke', '--in', 'shop/pay', '--reason', 'r']);
    expect(agent.asked).toMatchObject([{ target: { case: 'place', value: 'shop/pay' } }]);
  });

  test.each([
    [['--pid', '1'], 'why? give --reason TEXT'],
    [['--pid', '1', '--reason', ' '], 'why? give --reason TEXT'],
    [['--pid', '1', '--reason', 'r'.repeat(1001)], '--reason is longer than 1000 characters'],
    [['--reason', 'r'], 'what is meant? give one of --serial, --jti, --pid, --spiffe-id, --entry, --in, --all'],
    [['--reason', 'r', '--pid', '1', '--entry', 'e'], 'this means two things at once'],
    [['--reason', 'r', '--all', '--yes', '--jti', 'j'], 'this means two things at once'],
    [['--reason', 'r', '--in', 'shop/pay', '--pid', '1'], 'this means two things at once'],
    [['--reason', 'r', '--in', ''], 'it is empty'],
    [['--reason', 'r', '--all'], 'give --yes too'],
    [['--reason', 'r', '--pid', '0'], 'is no process number'],
    [['--reason', 'r', '--pid', '1e3'], 'is no process number'],
    [['--reason', 'r', '--pid', '99999999999'], 'is no process number'],
    [['--reason', 'r', '--serial', '0'], 'is no serial'],
    [['--reason', 'r', '--serial', 'payments'], 'is no serial'],
    [['--reason', 'r', '--serial', 'a'.repeat(41)], 'is no serial'],
    [['--reason', 'r', '--jti', ''], 'it is empty'],
    [['--reason', 'r', '--spiffe-id', 'example.org/x'], 'does not start with spiffe://'],
    [['--reason', 'r', '--pid', '1', '--code', 'boredom'], 'keyCompromise, privilegeWithdrawn'],
  ])('wrong usage %j asks the agent for nothing', async (argv, sentence) => {
    const { code, stdout, stderr } = await mayfly(['revoke', ...argv]);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(sentence);
    expect(agent.asked).toEqual([]);
  });

  test('says what the agent refuses', async () => {
    await using other = await CannedAgent.start(undefined, {
      revoke: () => {
        throw new MayflyError('NOT_FOUND', 'nobody holds a certificate 4d');
      },
    });
    const argv = ['revoke', '--serial', '4d', '--reason', 'r', '--admin-socket', other.adminSocket];
    expect(await run(argv)).toEqual({
      code: 1,
      stdout: '',
      stderr: 'mayfly: nobody holds a certificate 4d\n',
    });
  });
});

describe('events', () => {
  test('prints recent ones as they are and ends, with --json and without', async () => {
    agent.recent = [{ record: '{"type":"svid.issued"}' }, { record: '{"type":"lease.ended"}' }];
    const expected = { code: 0, stdout: '{"type":"svid.issued"}\n{"type":"lease.ended"}\n', stderr: '' };
    expect(await mayfly(['events'])).toEqual(expected);
    expect(await mayfly(['events', '--json', '--recent'])).toEqual(expected);
    expect(agent.asked).toMatchObject([
      { recent: true, follow: false },
      { recent: true, follow: false },
    ]);
  });

  test('nothing recent is an answer', async () => {
    expect(await mayfly(['events'])).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test('gives a terminal no control characters, and programs the same value', async () => {
    const record = JSON.stringify({ executable: `\u009b31m/x${ESCAPE}[2J\u202e` });
    agent.recent = [{ record }];
    const { stdout } = await mayfly(['events']);
    for (const character of ['\u009b', '\u202e', ESCAPE]) expect(stdout).not.toContain(character);
    expect(jsonOf(stdout)).toEqual(JSON.parse(record));
  });

  test('follows until interrupted, and says what it lost', async () => {
    agent.recent = [{ record: '{"seq":1}' }];
    const command = start(['events', '--follow', '--recent'], surroundings());
    await command.terminal.until(({ out }) => out === '{"seq":1}\n');
    agent.events.set({ record: '{"seq":9}', lost: 7n });
    await command.terminal.until(({ out }) => out.endsWith('{"seq":9}\n'));
    expect(command.terminal.err).toBe(
      'mayfly: 7 events are missing here, they came faster than they were read; the ledger has them: mayfly audit export --since SEQ\n',
    );
    expect(command.terminal.interruptions).toBe(1);
    expect((await command.interrupt()).code).toBe(0);
    expect(command.terminal.interruptions).toBe(0);
  });

  test('has all the patience in the world with an agent that has nothing to tell', async () => {
    const command = start(['events', '--follow', '--timeout', '100ms'], surroundings());
    await new Promise((resolve) => setTimeout(resolve, 300));
    agent.events.set({ record: '{"seq":2}' });
    await command.terminal.until(({ out }) => out === '{"seq":2}\n');
    expect(agent.asked).toMatchObject([{ recent: false, follow: true }]);
    expect(await command.interrupt()).toEqual({ code: 0, stdout: '{"seq":2}\n', stderr: '' });
  });

  test('fails when the agent goes away', async () => {
    const command = start(['events', '--follow'], surroundings());
    agent.events.set({ record: '{"seq":2}' });
    await command.terminal.until(({ out }) => out !== '');
    await agent.stop();
    const { code, stderr } = await command.done;
    expect(code).toBe(1);
    expect(stderr).toBe(
      'mayfly: no further events: the agent cannot do this: the agent is stopping; try again in a moment\n',
    );
  });

  test('fails at once where no agent is, and after the timeout where one does not answer', async () => {
    await agent.stop();
    const { code, stderr } = await mayfly(['events', '--follow', '--admin-socket', agent.adminSocket]);
    expect(code).toBe(1);
    expect(stderr).toContain('no further events: no agent is running at');

    const sockets = new Set<Socket>();
    const mute = createServer((socket) => sockets.add(socket));
    const path = join(agent.directory, 'mute.sock');
    await new Promise<void>((resolve) => {
      mute.listen(path, resolve);
    });
    try {
      const late = await mayfly(['events', '--follow', '--timeout', '200ms', '--admin-socket', path]);
      expect(late.code).toBe(1);
      expect(late.stderr).toContain(`no further events: the agent at ${path} did not answer within 200ms`);
    } finally {
      for (const socket of sockets) socket.destroy();
      mute.close();
    }
  });
});

describe('drill', () => {
  test('prints old and new serials, and subscribers from the quickest to those that were not told', async () => {
    agent.drill = {
      leases: [
        { pid: 42, entryId: 'e', spiffeId: PAYMENTS, oldSerial: '4d01', newSerial: '4d02', issuedMs: 1.23 },
        { pid: 43, entryId: 'e', spiffeId: PAYMENTS, oldSerial: '4d03' },
      ],
      subscribers: [
        { pid: 44, method: 'FetchX509SVID', what: 'list' },
        { pid: 43, method: 'FetchX509Bundles', what: 'list', told: true, ms: 12.34 },
        { pid: 42, method: 'FetchX509SVID', what: 'certificate', told: true, ms: 1.5 },
      ],
    };
    const { code, stdout, stderr } = await mayfly(['drill', '--entry', 'e', '--revoke', '--wait', '2s']);
    expect(stderr).toBe('');
    expect(stdout).toBe(
      [
        'PID  SPIFFE ID                      OLD SERIAL  NEW SERIAL      ISSUED IN',
        '42   spiffe://example.org/payments  4d01        4d02            1.2 ms',
        '43   spiffe://example.org/payments  4d03        none asked for  -',
        '',
        'PID  CALL              OF           TOLD AFTER',
        '42   FetchX509SVID     certificate  1.5 ms',
        '43   FetchX509Bundles  list         12.3 ms',
        '44   FetchX509SVID     list         NOT TOLD within 2s',
        'told: 2 of 3, the slowest after 12.3 ms',
        '',
      ].join('\n'),
    );
    expect(code).toBe(1);
    expect(agent.asked).toMatchObject([{ target: { case: 'entryId', value: 'e' }, revoke: true, waitMs: 2000 }]);
    const json = jsonOf((await mayfly(['drill', '--pid', '42', '--json'])).stdout);
    expect(json).toMatchObject({
      leases: [{ old_serial: '4d01' }, {}],
      subscribers: [{ pid: 42 }, { pid: 43 }, { told: false }],
    });
    expect(agent.asked.at(-1)).toMatchObject({ revoke: false, waitMs: 5000 });
  });

  test('prints the ids of WIT-SVIDs beside serials', async () => {
    agent.drill = {
      leases: [
        { pid: 42, spiffeId: PAYMENTS, oldSerial: '4d01', newSerial: '4d02', issuedMs: 1 },
        { pid: 42, spiffeId: PAYMENTS, oldJti: 'aa', newJti: 'bb', issuedMs: 1 },
        { pid: 43, spiffeId: PAYMENTS, oldJti: 'cc' },
      ],
      subscribers: [{ pid: 42, method: 'FetchWITSVID', what: 'wit-svid', told: true, ms: 1 }],
    };
    const { stdout } = await mayfly(['drill', '--entry', 'e']);
    expect(stdout.split('\n').slice(1, 4)).toEqual([
      '42   spiffe://example.org/payments  4d01        4d02            1.0 ms',
      '42   spiffe://example.org/payments  WIT aa      WIT bb          1.0 ms',
      '43   spiffe://example.org/payments  WIT cc      none asked for  -',
    ]);
    expect(stdout).toContain('42   FetchWITSVID  wit-svid  1.0 ms');
  });

  test('is done when all were told, and when nobody had to be', async () => {
    const leases = [{ pid: 42, spiffeId: PAYMENTS, oldSerial: '4d01', newSerial: '4d02' }];
    agent.drill = {
      leases,
      subscribers: [{ pid: 42, method: 'FetchX509SVID', what: 'certificate', told: true, ms: 1 }],
    };
    expect((await mayfly(['drill', '--pid', '42'])).code).toBe(0);
    agent.drill = { leases };
    const { code, stdout } = await mayfly(['drill', '--pid', '42']);
    expect(code).toBe(0);
    expect(stdout).toContain('nobody is subscribed');
  });

  test('answers no when there is nothing to drill with', async () => {
    expect(await mayfly(['drill', '--pid', '42'])).toEqual({
      code: 1,
      stdout: "nothing to drill with: 'mayfly leases' shows which processes hold an identity\n",
      stderr: '',
    });
  });

  test('waits for the agent as long as the agent waits', async () => {
    await using other = await CannedAgent.start(undefined, {
      drill: async ({ waitMs }) => {
        await new Promise((resolve) => setTimeout(resolve, waitMs));
        return { leases: [{ pid: 1, spiffeId: PAYMENTS }] };
      },
    });
    const argv = ['drill', '--pid', '1', '--wait', '2s', '--timeout', '1900ms', '--admin-socket', other.adminSocket];
    expect((await run(argv)).code).toBe(0);
  });

  test.each([
    [[], 'what is meant? give one of --pid, --entry'],
    [['--pid', '1', '--entry', 'e'], 'this means two things at once'],
    [['--pid', '1', '--wait', '0s'], 'wait from 1ms up to 1h'],
    [['--pid', '1', '--wait', '2h'], 'wait from 1ms up to 1h'],
    [['--serial', '4d'], "unknown option '--serial'"],
  ])('wrong usage %j drills nothing', async (argv, sentence) => {
    const { code, stderr } = await mayfly(['drill', ...argv]);
    expect(code).toBe(2);
    expect(stderr).toContain(sentence);
    expect(agent.asked).toEqual([]);
  });
});

describe('leases', () => {
  const now = Date.UTC(2026, 0, 1);
  const leases = [
    {
      pid: 43,
      spiffeId: PAYMENTS,
      entryId: 'payments',
      executable: `/opt/${ESCAPE}[2Jx`,
      createdAt: timestampFromMs(now - 5_000),
      expiresAt: timestampFromMs(now + 60_000),
      adopted: true,
    },
    {
      pid: 42,
      spiffeId: PAYMENTS,
      entryId: 'payments',
      executable: '/usr/bin/payments',
      serial: '4d01',
      createdAt: timestampFromMs(now - 3_723_000),
      expiresAt: timestampFromMs(now + 1_795_000),
      deliveredAt: timestampFromMs(now - 2_000),
    },
  ];
  const listLeases = () => ({ leases });

  test('are shown oldest first, with what they run', async () => {
    await using other = await CannedAgent.start(undefined, { listLeases });
    const { stdout } = await run(['leases', '--admin-socket', other.adminSocket], { clock: new ManualClock(now) });
    expect(stdout).toBe(
      [
        String.raw`PID  PROGRAM     SPIFFE ID                      ENTRY     AGE   EXPIRES      DELIVERED  SERIAL`,
        String.raw`42   payments    spiffe://example.org/payments  payments  1h2m  29m55s left  2s ago     4d01`,
        String.raw`43   \u001b[2Jx  spiffe://example.org/payments  payments  5s    1m left      adopted    -`,
        '',
      ].join('\n'),
    );
  });

  test('as JSON give a terminal no control characters either, and programs the same value', async () => {
    const executable = `/opt/\u009b31m${ESCAPE}[2J\u202e`;
    await using other = await CannedAgent.start(undefined, {
      listLeases: () => ({ leases: [{ pid: 7, executable }] }),
    });
    const { stdout } = await run(['leases', '--json', '--admin-socket', other.adminSocket], {});
    for (const character of ['\u009b', '\u202e', ESCAPE]) expect(stdout).not.toContain(character);
    expect(jsonOf(stdout)).toMatchObject({ leases: [{ executable }] });
  });

  test('--watch prints anew each second, until interrupted', async () => {
    await using other = await CannedAgent.start(undefined, { listLeases });
    const clock = new ManualClock(now);
    const command = start(['leases', '--watch', '--json', '--admin-socket', other.adminSocket], { clock });
    await command.terminal.until(({ out }) => out.split('\n').length === 2);
    await until(() => clock.alarms === 1);
    await clock.elapse(1000);
    await command.terminal.until(({ out }) => out.split('\n').length === 3);
    const { code, stdout } = await command.interrupt();
    expect(code).toBe(0);
    for (const line of stdout.trim().split('\n'))
      expect(JSON.parse(line)).toMatchObject({ leases: [{ pid: 43 }, { pid: 42 }] });
    expect(stdout).not.toContain(ESCAPE);
  });

  test('--watch on a terminal draws over what was there, and cuts what has no room', async () => {
    await using other = await CannedAgent.start(undefined, { listLeases });
    const command = start(['leases', '--watch', '--admin-socket', other.adminSocket], {
      clock: new ManualClock(now),
      screen: { rows: 3, columns: 20 },
    });
    await command.terminal.until(({ out }) => out !== '');
    const { code, stdout } = await command.interrupt();
    expect(code).toBe(0);
    expect(stdout).toBe(`${ESCAPE}[HPID  PROGRAM     SPI${ESCAPE}[K\nand 2 more${ESCAPE}[K\n${ESCAPE}[J`);
  });

  test('--watch fails when the agent goes away', async () => {
    const clock = new ManualClock(now);
    const command = start(['leases', '--watch', '--admin-socket', agent.adminSocket], { clock });
    await command.terminal.until(({ out }) => out !== '');
    await agent.stop();
    await until(() => clock.alarms === 1);
    await clock.elapse(1000);
    const { code, stderr } = await command.done;
    expect(code).toBe(1);
    expect(stderr).toContain('no agent is running at');
  });
});

/** Lets I/O go on until a condition holds. */
async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('it did not come to that in time');
    await new Promise((resolve) => setImmediate(resolve));
  }
}
