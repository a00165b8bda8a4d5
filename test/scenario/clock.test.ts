import { afterAll, beforeAll, expect, test } from 'vitest';
import { Daemon } from '../support/daemon.ts';
import { Home, ownEntry } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { WorkloadClient } from '../support/workload-client.ts';
import type { SaidX509 } from '../support/workload-said.ts';

const STEPPED_CLOCK = new URL('../support/stepped-clock.ts', import.meta.url).href;
const HOUR = 3_600_000;
const STEPS = [HOUR, -2 * HOUR, 25 * HOUR];
const STREAMING = 20;

// An issuing CA of a day: the last step leaves none that is valid.
const home = new Home(undefined, 'defaults: { x509_svid_ttl: 30m }');
let daemon: Daemon;

beforeAll(async () => {
  home.replace('entries/own.yaml', ownEntry('own', []));
  daemon = await Daemon.start(home, {
    node: ['--import', STEPPED_CLOCK],
    env: { CLOCK_STEPS: STEPS.join(',') },
  });
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  home.remove();
});

test('twenty processes are served on while the clock steps forward, back and over the life of the CA', async () => {
  await using stack = new AsyncDisposableStack();
  const workloads = Array.from({ length: STREAMING }, () => stack.use(new WorkloadClient(home.socket)));
  await Promise.all(workloads.map((workload) => workload.x509()));
  const seen = new Set<string>();
  const newest = (workload: WorkloadClient) =>
    workload.said.all.findLast((said): said is SaidX509 => said.event === 'x509') as SaidX509;

  const stepsSeen = () => daemon.log.all.filter(({ event }) => event === 'clock.stepped').length;
  let steps = 0;
  let offset = 0;
  for (const step of STEPS) {
    for (const workload of workloads) seen.add(newest(workload).serial);
    daemon.signal('SIGWINCH');
    offset += step;
    await Promise.all(
      workloads.map((workload) =>
        workload.update(
          ({ serial, notBefore, notAfter }) => {
            const now = Date.now() + offset;
            return !seen.has(serial) && notBefore <= now && now < notAfter && notAfter <= now + 31 * 60_000;
          },
          `a certificate of after the step of ${step} ms`,
          10_000,
        ),
      ),
    );
    // Two steps at once would be one.
    steps += 1;
    await eventually('the step is seen', () => Promise.resolve(stepsSeen() >= steps || undefined));
    // Who comes now is served as well, with lists that hold now and for longer than any certificate.
    await using late = new WorkloadClient(home.socket);
    const { crls, notBefore, notAfter } = await late.x509();
    const now = Date.now() + offset;
    expect(crls.length).toBeGreaterThanOrEqual(2);
    expect(crls.filter(({ thisUpdate }) => thisUpdate > now)).toEqual([]);
    expect(crls.filter(({ nextUpdate }) => nextUpdate <= notAfter)).toEqual([]);
    expect(notBefore).toBeLessThanOrEqual(Date.now() + offset);
    expect(notAfter).toBeGreaterThan(Date.now() + offset);
  }

  const ends = workloads.flatMap((workload) => workload.said.all.filter(({ event }) => event === 'end'));
  expect(ends).toEqual([]);
  const serials = workloads.map((workload) => newest(workload).serial);
  expect(new Set(serials).size).toBe(STREAMING);
  // Of the newest lists that each of them holds none is from the future, and none has ended.
  const heldLists = workloads.flatMap((workload) => newest(workload).crls);
  expect(heldLists.filter(({ nextUpdate, thisUpdate }) => !isNow(thisUpdate, nextUpdate, offset))).toEqual([]);
  for (const workload of workloads) workload.kill();
  await eventually('no lease is left', async () => (await daemon.status()).leases?.live === 0 || undefined);
}, 60_000);

function isNow(from: number, until: number, offset: number): boolean {
  const now = Date.now() + offset;
  return from <= now && now < until;
}
