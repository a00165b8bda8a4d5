import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readLedger } from '../../agent/ledger/read.ts';
import { verifyLedger } from '../../agent/ledger/verify.ts';
import { Daemon } from '../support/daemon.ts';
import { Home } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { WorkloadClient } from '../support/workload-client.ts';
import type { Said, SaidBundles, SaidX509 } from '../support/workload-said.ts';

const CRASHES = 100;
const LIVING = 3;
/** How long an agent serves before it is killed, at most. */
const MOST_MS = 250;

const home = new Home(undefined, 'ledger: { segment_size: 64KiB, max_size: 64MiB, checkpoint_interval: 1s }');
const ledger = join(home.dataDir, 'ledger');
afterAll(() => home.remove());

/** A process of the crowd: alive until it is killed, with all that it was ever given. */
interface Member {
  readonly client: WorkloadClient;
  readonly dead: boolean;
}

const given = ({ client }: Member) =>
  client.said.all.filter((said): said is SaidX509 => said.event === 'x509').map(({ serial }) => serial);

/** What the ledger says, read as an auditor would. */
function recorded(): { issued: ReadonlySet<string>; revoked: ReadonlySet<string>; ended: ReadonlySet<string> } {
  const issued = new Set<string>();
  const revoked = new Set<string>();
  const ended = new Set<string>();
  for (const { record } of readLedger(ledger, 'issuance')) {
    const { certificates, lease, serial, type } = record as unknown as {
      type: string;
      serial?: string;
      lease: string;
      certificates?: readonly { serial: string }[];
    };
    if (serial !== undefined) issued.add(serial);
    if (type === 'lease.ended') ended.add(lease);
    for (const each of certificates ?? []) revoked.add(each.serial);
  }
  return { issued, revoked, ended };
}

test(`an agent that is killed ${CRASHES} times at random moments forgets nothing and takes nothing back`, async () => {
  await using stack = new AsyncDisposableStack();
  const join_ = () => stack.use(new WorkloadClient(home.socket));
  const living: Member[] = Array.from({ length: LIVING }, () => ({ client: join_(), dead: false }));
  const gone: Member[] = [];
  let delivered = 0;
  let visitor = join_();

  for (let round = 0; round <= CRASHES; round += 1) {
    const agent = await Daemon.start(home);
    stack.use(agent);

    // Before anything else happens: the agent has just gone through what the one before it left. It has revoked by now, and writes
    // down what it did.
    const told = new Set([...living, ...gone].flatMap(given));
    const newest = living.flatMap((member) => given(member).slice(-1));
    delivered = told.size;
    const { issued, revoked } = await eventually(`round ${round}: every dead process is revoked in the ledger`, () => {
      const found = recorded();
      return gone.flatMap(given).every((serial) => found.revoked.has(serial)) ? found : undefined;
    });
    expect([...told].filter((serial) => !issued.has(serial))).toEqual([]);
    expect(newest.filter((serial) => revoked.has(serial))).toEqual([]);
    if (round % 10 === 0) {
      const { problems } = verifyLedger(ledger, 'issuance', {});
      expect(problems).toEqual([]);
      const { crls } = await bundlesOf(living[0]?.client, round);
      const listed = new Set(crls.flatMap(({ serials }) => serials));
      expect(gone.flatMap(given).filter((serial) => !listed.has(serial))).toEqual([]);
      expect(newest.filter((serial) => listed.has(serial))).toEqual([]);
    }
    if (round === CRASHES) {
      expect(await agent.stop()).toMatchObject({ code: 0 });
      break;
    }

    for (const { client } of living) client.send(`x509 round-${round}`);
    visitor.send('x509');
    const next = join_();
    await moment(Math.random() * MOST_MS);
    if (round % 2 === 0) {
      // It dies under this agent, or while there is none.
      visitor.kill();
      if (round % 4 === 0) await moment(Math.random() * 20);
    }
    await agent.stop('SIGKILL');
    visitor.kill();
    await visitor[Symbol.asyncDispose]();
    gone.push({ client: visitor, dead: true });
    visitor = next;
  }

  // It was under load: most rounds have delivered something, and each visitor that was served has died.
  expect(delivered).toBeGreaterThan(CRASHES);
  expect(gone.filter((member) => given(member).length > 0).length).toBeGreaterThan(CRASHES / 4);
  expect(verifyLedger(ledger, 'issuance', {}).problems).toEqual([]);
}, 120_000);

async function bundlesOf(client: WorkloadClient | undefined, round: number): Promise<SaidBundles> {
  const after = client?.said.mark ?? 0;
  client?.send(`bundles bundles-${round}`);
  const isBundles = (said: Said): said is SaidBundles => said.event === 'bundles';
  if (client === undefined) throw new Error('nobody is there');
  return client.said.first(isBundles, 'the lists', after);
}

function moment(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
