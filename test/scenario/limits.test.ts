import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Daemon, plainEnvironment } from '../support/daemon.ts';
import { entry, Home, ownEntry } from '../support/home.ts';
import { eventually, JsonLines } from '../support/json-lines.ts';
import { isRoot } from '../support/processes.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const FLOOD = new URL('../support/flood-process.ts', import.meta.url).pathname;
const ALICE = 41_001;
const CONNECTIONS = 5000;
const OF_USER = 1000;
const OF_CONNECTION = 8;

/** How many descriptors a process of ours may have. */
const descriptorLimit = Number(/^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]);

const LIMITS = `max_connections_per_uid: ${OF_USER}, max_calls_per_connection: ${OF_CONNECTION}`;

const home = new Home(
  { 'own.yaml': ownEntry(), 'alice.yaml': entry('alice', [`unix:uid:${ALICE}`]) },
  `peer: { ${LIMITS} }`,
);
let daemon: Daemon;
/** A caller who has done nothing wrong, and is to notice nothing. */
let caller: WorkloadClient;

beforeAll(async () => {
  daemon = await Daemon.start(home);
  caller = new WorkloadClient(home.socket);
  await caller.x509();
});

afterAll(async () => {
  const said = caller.said.all.filter(({ event }) => event !== 'jwt').map(({ event }) => event);
  await caller[Symbol.asyncDispose]();
  await daemon[Symbol.asyncDispose]();
  home.remove();
  // It was told of lists in which others have ended, and of nothing else.
  expect(new Set(said)).toEqual(new Set(['x509']));
});

interface Flooded {
  readonly open: number;
  /** By the agent, after they were connected. */
  readonly closed: number;
  /** Not connected. */
  readonly failed: number;
}

/** A process that opens connections, and nothing else. */
class Flood implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: JsonLines<Flooded>;
  readonly #closed: Promise<unknown>;

  constructor(socket: string) {
    this.#child = spawn(process.execPath, [FLOOD, socket], { env: plainEnvironment() });
    this.#lines = new JsonLines(this.#child.stdout);
    this.#closed = once(this.#child, 'close');
  }

  tell(command: string): Promise<Flooded> {
    const mark = this.#lines.mark;
    this.#child.stdin.write(`${command}\n`);
    return this.#lines.first(() => true, `an answer to ${command}`, mark);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#closed;
  }
}

/** Waits until the agent has no more descriptors open than `base`. */
function backTo(base: number): Promise<true> {
  return eventually('the descriptors are given back', async () =>
    (await daemon.descriptors()) <= base ? true : undefined,
  );
}

/** How long the caller's calls take while `busy`, in milliseconds, from the shortest to the longest. */
async function latencies(busy: () => boolean): Promise<number[]> {
  const taken: number[] = [];
  for (let call = 0; busy() || call < 20; call += 1) {
    const said = await caller.tell(`jwt audience-${call % 3}`, 'jwt', 'refused');
    expect(said.event).toBe('jwt');
    taken.push(said.ms);
  }
  return taken.toSorted((a, b) => a - b);
}

describe.skipIf(descriptorLimit < CONNECTIONS + 200)(
  'five thousand connections of one process (needs a limit of 5200 open files)',
  () => {
    test('are served up to the limit of its user, refused above it, and given back', async () => {
      const base = await daemon.descriptors();
      await using flood = new Flood(home.socket);
      // One of the user's is the caller's.
      const admitted = OF_USER - 1;
      let settled = false;
      const flooding = (async () => {
        await flood.tell(`open ${CONNECTIONS}`);
        const counts = await eventually('all are served or refused', async () => {
          const now = await flood.tell('count');
          const told = now.open + now.closed + now.failed;
          return now.open <= admitted && told === CONNECTIONS ? now : undefined;
        });
        settled = true;
        return counts;
      })();
      const [counts, taken] = await Promise.all([flooding, latencies(() => !settled)]);

      expect(counts.open).toBe(admitted);
      expect(counts.closed + counts.failed).toBe(CONNECTIONS - admitted);
      expect(await daemon.refused('too-many-connections-of-user')).toBe(counts.closed);
      expect((await daemon.status()).peer).toMatchObject({ connections: OF_USER, instances: 2 });
      // The first at once, the others as one line some time later.
      const lines = daemon.log.all.filter(({ event }) => event === 'peer.refused');
      expect(lines.length).toBeLessThanOrEqual(2);
      expect(lines[0]).toMatchObject({
        level: 'warn',
        reason: 'too-many-connections-of-user',
        uid: process.getuid?.(),
      });
      expect(taken[Math.floor(taken.length / 2)]).toBeLessThan(250);
      expect(taken.at(-1)).toBeLessThan(3000);

      await flood.tell('close');
      await backTo(base);
      await using later = new WorkloadClient(home.socket);
      expect((await later.x509()).ids).toEqual(['spiffe://example.org/own']);
    });

    test.skipIf(!isRoot)('do not keep other users out (needs root)', async () => {
      const base = await daemon.descriptors();
      await using flood = new Flood(home.socket);
      await flood.tell(`open ${OF_USER + 100}`);
      await eventually('the user has all connections that he may have', async () => {
        const { peer } = await daemon.status();
        return peer?.connections === OF_USER ? true : undefined;
      });
      await using alice = new WorkloadClient(home.socket, ALICE);
      expect((await alice.x509()).ids).toEqual(['spiffe://example.org/alice']);
      expect((await alice.tell('jwt audience', 'jwt')).ms).toBeLessThan(1000);
      // Its connections go with the process.
      await flood[Symbol.asyncDispose]();
      await alice.end();
      await backTo(base);
    });
  },
);

describe('a client is cut off and counted', () => {
  beforeAll(async () => {
    const mark = daemon.log.mark;
    home.configure(`peer: { ${LIMITS}, preface_timeout: 1s }`);
    await daemon.logged('config.reloaded', mark);
  });

  const cases: readonly (readonly [what: string, bytes: string])[] = [
    ['that sends half a preface', 'PRI * HTTP/2.0\r\n'],
    ['that sends nothing', ''],
    ['that sends rubbish', '\0rubbish\n'],
    ['that speaks HTTP/1', 'GET / HTTP/1.1\r\nhost: localhost\r\n\r\n'],
    ['that begins TLS', '\x16\x03\x01\x02\x00'],
    ['that sends rubbish after the preface', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${'\xff'.repeat(64)}`],
  ];
  for (const [what, bytes] of cases) {
    test(what, async () => {
      const base = await daemon.descriptors();
      const before = await daemon.refused('first-request');
      const socket = connect(home.socket);
      // In some cases the agent has closed before all was sent.
      socket.on('error', () => undefined);
      socket.write(Buffer.from(bytes, 'latin1'));
      await once(socket.resume(), 'close');
      expect(await daemon.refused('first-request')).toBe(before + 1);
      await backTo(base);
      expect((await latencies(() => false)).at(-1)).toBeLessThan(1000);
    });
  }
});

test('a call above the limit of its connection is refused, and those of other connections are not', async () => {
  await using workload = new WorkloadClient(home.socket);
  for (let call = 0; call < OF_CONNECTION; call += 1) await workload.x509('one');
  const refused = await workload.tell('jwt audience one', 'jwt', 'refused');
  expect(refused).toMatchObject({ event: 'refused', code: 'RESOURCE_EXHAUSTED' });
  expect(await daemon.refused('too-many-calls')).toBe(1);
  expect((await workload.tell('jwt audience two', 'jwt', 'refused')).event).toBe('jwt');
  expect(workload.said.all.map(({ event }) => event)).not.toContain('end');
});

test('a client that opens HTTP/2 and asks nothing for a while is served when it does', async () => {
  const base = await daemon.descriptors();
  const start = performance.now();
  const session = connectHttp2('http://localhost', { createConnection: () => connect(home.socket) });
  await once(session, 'remoteSettings');
  const connected = await daemon.descriptors();
  // After a second the agent puts it behind a socket pair, where it can wait as long as it likes.
  await eventually('it is set aside', async () => ((await daemon.descriptors()) >= connected + 2 ? true : undefined));
  expect(performance.now() - start).toBeGreaterThan(900);
  expect((await daemon.status()).peer).toMatchObject({ connections: 2, streams: 1 });
  const stream = session.request({
    ':method': 'POST',
    ':path': '/grpc.health.v1.Health/Check',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.end(Buffer.alloc(5));
  const [[headers]] = await Promise.all([once(stream, 'response'), once(stream.resume(), 'end')]);
  expect(headers).toMatchObject({ ':status': 200 });
  session.close();
  await once(session, 'close');
  await backTo(base);
});
