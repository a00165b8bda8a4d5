/**
 * Measures the agent, and beside it, in turns on the same machine, another one:
 *
 *     npm run bench [-- --peer FOLDER]     FOLDER holds spire-server and spire-agent
 *
 * Every figure stands beside its target, which is a ratio to the peer of the same run, or to the limit that the machine sets.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { AgentUnderTest } from './agent-under-test.ts';
import { buildLoadClient, residentBytes } from './agent-under-test.ts';
import { LoadClient } from './load-client.ts';
import { forgetCompiledCode, startMayfly } from './mayfly.ts';
import { mintRates } from './mint.ts';
import { podFigures } from './pods.ts';
import { ledgerRates } from './replay.ts';
import { startSpire } from './spire.ts';
import { watchCost } from './watch.ts';

/** Every figure of one agent: a name, and a number in the unit that the name says. */
type Figures = ReadonlyMap<string, number>;

/** What is aimed at, as a ratio to the peer; `at most` unless said. */
const TARGETS: Readonly<Record<string, { readonly ratio: number; readonly atLeast?: true }>> = {
  'start to first SVID, warm (ms)': { ratio: 1 },
  'resident at rest (MB)': { ratio: 1.5 },
  'new connection, first SVID p50 (ms)': { ratio: 0.9 },
  'new connection, first SVID p99 (ms)': { ratio: 1.2 },
  'new process, first SVID p50 (ms)': { ratio: 1 },
  'JWT-SVIDs from cache, 64 under way (1/s)': { ratio: 2, atLeast: true },
  'JWT-SVIDs from cache, one at a time (1/s)': { ratio: 2, atLeast: true },
  'JWT-SVIDs newly signed, 64 under way (1/s)': { ratio: 5, atLeast: true },
  'memory a stream at 1000 (KB)': { ratio: 0.8 },
};
/** What is aimed at, in the figure's own unit, whatever a peer does. */
const LIMITS: Readonly<Record<string, number>> = {
  'new certificate at the last of 1000 mixed streams, worst of 5 (ms)': 250,
};
const REST_MS = 3000;
const WIDTH = 68;
const STREAM_COUNTS = [1000, 5000];
const DEATH_STREAMS = 1000;
const MIXED_STREAMS = 1000;

const { values } = parseArgs({ options: { peer: { type: 'string' } } });
const folder = mkdtempSync(join(tmpdir(), 'mayfly-load-'));
const binary = buildLoadClient(folder);

console.log(`${availableParallelism()} cores, load ${loadText()} before`);
// First: how much a process grows depends on what it has had already.
const pods = await podFigures();
if (pods === undefined) {
  console.log('pods: not measured, which takes root and a cgroup2 file system that can be written');
} else {
  console.log(
    `pods: ${pods.pods} in a list of ${pods.answer.toFixed(1)} MB, ${pods.kept.toFixed(1)} MB kept of it (target: at most 20), ${whole(pods.grown)} MB more while it is read again and again;`,
  );
  console.log(
    `  ${whole(pods.read)} ms of the thread to read it, ${whole(pods.again)} ms when no pod has changed; ${pods.processes} processes in them attested ${whole(pods.together)} ms after all came at once;`,
  );
  console.log(
    `  an attestation by a warm list p50 ${pods.p50.toFixed(2)} ms (target: at most 2), p99 ${pods.p99.toFixed(2)} ms, ${whole(pods.perSecond)} a second`,
  );
}

const mint = await mintRates();
const share = Math.round((100 * mint.certificates) / mint.limit);
console.log(
  `certificates minted: ${whole(mint.certificates)} a second on one core, ${share} % of the limit of key generation`,
);
console.log(`  plus signature, ${whole(mint.limit)} a second (target: at least 60 %)`);
console.log(`tokens signed: ${whole(mint.tokens)} a second on one core`);

const ledger = await ledgerRates();
console.log(
  `ledger: ${whole(ledger.alone)} durable records a second one after the other (p50 ${ledger.p50.toFixed(2)} ms, p99 ${ledger.p99.toFixed(2)} ms), ${whole(ledger.together)} with 64 under way,`,
);
console.log(
  `  ${ledger.thread.toFixed(3)} ms of the thread and ${whole(ledger.bytes)} bytes a record; ${ledger.records} replayed in ${whole(ledger.replay)} ms (target: 1000), ${whole(ledger.verify)} verified a second`,
);
const watch = await watchCost();
console.log(
  `watch (${watch.kind}): ${watch.percent.toFixed(2)} % of a processor for ${watch.processes} processes at rest (target: at most 5), a look at a call ${watch.look.toFixed(1)} µs, another within 0.1 s ${watch.again.toFixed(1)} µs`,
);
forgetCompiledCode();
const cold = await startMayfly(binary);
await cold.stop();
console.log(`start to the first SVID, cold (fresh clone): ${whole(cold.startMs)} ms`);

const ours = new Map(await measure(() => startMayfly(binary)));
const theirs = values.peer === undefined ? undefined : await measure(() => startSpire(values.peer ?? '', binary));
// A peer that revokes nothing, and gives no secrets by delta, has no figures for these.
await measureDeaths(ours);
await measureMixed(ours);
report(ours, theirs);
console.log(`load ${loadText()} after`);
rmSync(folder, { recursive: true });

async function measure(start: () => Promise<AgentUnderTest>): Promise<Figures> {
  const figures = new Map<string, number>();
  const starts: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    const once = await start();
    starts.push(once.startMs);
    await once.stop();
  }
  figures.set('start to first SVID, warm (ms)', Math.min(...starts));
  const agent = await start();
  const client = new LoadClient(binary, agent.socket);
  await pause(REST_MS);
  figures.set('resident at rest (MB)', residentBytes(agent.pid) / 1e6);

  const connection = await client.firstSvid(2000);
  figures.set('new connection, first SVID p50 (ms)', connection.p50);
  figures.set('new connection, first SVID p99 (ms)', connection.p99);
  const { inProcess, keys } = await client.newProcess(200);
  figures.set('new process, first SVID p50 (ms)', inProcess.p50);
  figures.set('new process, first SVID p99 (ms)', inProcess.p99);
  figures.set('different keys of 200 processes', keys);
  figures.set('JWT-SVIDs from cache, 64 under way (1/s)', (await client.jwt(64, false)).perSecond);
  const single = await client.jwt(1, false);
  figures.set('JWT-SVIDs from cache, one at a time (1/s)', single.perSecond);
  figures.set('JWT-SVIDs from cache, one at a time p50 (ms)', single.ms.p50);
  figures.set('JWT-SVIDs newly signed, 64 under way (1/s)', (await client.jwt(64, true)).perSecond);
  await agent.stop();
  for (const count of STREAM_COUNTS) await measureStreams(figures, start, count);
  return figures;
}

/** On an agent of its own: memory that an earlier measurement has left free would hide what streams take. */
async function measureStreams(figures: Map<string, number>, start: () => Promise<AgentUnderTest>, count: number) {
  const agent = await start();
  const client = new LoadClient(binary, agent.socket);
  await client.firstSvid(100);
  await pause(REST_MS);
  const before = residentBytes(agent.pid);
  await client.streams(count, async (readyMs, next) => {
    figures.set(`${count} streams, all served (ms)`, readyMs);
    await pause(REST_MS);
    figures.set(`memory a stream at ${count} (KB)`, (residentBytes(agent.pid) - before) / count / 1000);
    const delays: number[] = [];
    for (let round = 1; round <= 3; round += 1) {
      const seen = next();
      const changed = agent.changeEntry(count + round);
      delays.push((await seen) - changed);
    }
    figures.set(
      `changed entry at the last of ${count} streams (ms)`,
      delays.toSorted((a, b) => a - b)[1] ?? Number.NaN,
    );
  });
  await agent.stop();
}

/** From the end of a process to where it is known, while nothing else goes on, and while tokens are signed as fast as they can be. */
async function measureDeaths(figures: Map<string, number>): Promise<void> {
  const agent = await startMayfly(binary);
  const client = new LoadClient(binary, agent.socket);
  const record = (name: string, { p50, max }: { p50: number; max: number }) => {
    figures.set(`${name} p50 (ms)`, p50);
    figures.set(`${name} worst (ms)`, max);
  };
  const quiet = await client.deaths(50, DEATH_STREAMS);
  record(`kill to the list of one of ${DEATH_STREAMS} streams`, quiet.first);
  record(`kill to the lists of all ${DEATH_STREAMS} streams`, quiet.last);
  record('kill to the refusal of a token', quiet.token);
  const [loaded] = await Promise.all([client.deaths(30, DEATH_STREAMS), client.jwt(64, true)]);
  record('the same under load: one stream', loaded.first);
  record('the same under load: all streams', loaded.last);
  record('the same under load: a token', loaded.token);
  await agent.stop();
}

/** One identity update, from the change of the entry to the last of the streams of all kinds. */
async function measureMixed(figures: Map<string, number>): Promise<void> {
  const agent = await startMayfly(binary);
  const client = new LoadClient(binary, agent.socket);
  const update = async (_readyMs: number, next: () => Promise<number>) => {
    const delays: number[] = [];
    for (let round = 1; round <= 5; round += 1) {
      const seen = next();
      const changed = agent.changeCertificate(round);
      delays.push((await seen) - changed);
    }
    figures.set(`new certificate at the last of ${MIXED_STREAMS} mixed streams, worst of 5 (ms)`, Math.max(...delays));
  };
  await client.streams(MIXED_STREAMS, update, true);
  await agent.stop();
}

function report(ours: Figures, theirs: Figures | undefined): void {
  console.log(`\n${'figure'.padEnd(WIDTH)}${'mayfly'.padStart(10)}${theirs === undefined ? '' : 'peer'.padStart(10)}`);
  for (const [name, value] of ours) {
    const other = theirs?.get(name);
    const target = TARGETS[name];
    const ratio = other === undefined ? '' : `  ${(value / other).toFixed(2)}`;
    const wanted =
      target === undefined ? '' : ` (target: ${target.atLeast === true ? 'at least' : 'at most'} ${target.ratio})`;
    const beside = other === undefined ? '' : `${number(other).padStart(10)}${ratio}${wanted}`;
    const limit = LIMITS[name] === undefined ? '' : ` (target: at most ${LIMITS[name]})`;
    console.log(`${name.padEnd(WIDTH)}${number(value).padStart(10)}${beside}${limit}`);
  }
}

function number(value: number): string {
  return value >= 100 ? whole(value) : value.toFixed(2);
}

function whole(value: number): string {
  return Math.round(value).toString();
}

function loadText(): string {
  return (loadavg()[0] ?? 0).toFixed(2);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
