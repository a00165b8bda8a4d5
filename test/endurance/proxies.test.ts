import { afterAll, beforeAll, expect, test } from 'vitest';
import { comeAndGoMany } from '../support/come-and-go.ts';
import { Daemon } from '../support/daemon.ts';
import { GrpcCaller } from '../support/grpc-caller.ts';
import { Home, ownEntry } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { ProxyStream } from '../support/proxy-stream.ts';
import type { ReadSecret } from '../support/secrets-read.ts';

const CONNECTIONS = 50;
const WAYS = ['state of the world', 'delta'] as const;
const STREAMS = CONNECTIONS * WAYS.length;
const PROCESSES = 100;
const AT_A_TIME = 8;

const home = new Home();
let daemon: Daemon;

beforeAll(async () => {
  daemon = await Daemon.start(home);
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  home.remove();
});

test('two hundred streams of proxies stay while a hundred processes come and go, and each is told of every death', async () => {
  const callers = Array.from({ length: CONNECTIONS }, () => new GrpcCaller(home.socket));
  const open = (name: string) => callers.flatMap((caller) => WAYS.map((way) => new ProxyStream(caller, name, way)));
  const certificates = open('default');
  const bundles = open('ROOTCA');
  const all = [...certificates, ...bundles];
  await eventually('a secret on each', () => (all.every(({ count }) => count > 0) ? true : undefined));

  const said = await comeAndGoMany(home.socket, PROCESSES, AT_A_TIME, (nth) => {
    // Half way they get another certificate.
    if (nth === PROCESSES / 2) home.replace('entries/own.yaml', ownEntry('own', ['dns_names: [ other.internal ]']));
  });
  const serials = new Set(said.map(({ serial }) => serial));

  expect(serials.size).toBe(PROCESSES);
  await eventually('all of them on the list of each', () =>
    bundles.every(({ newest }) => serials.isSubsetOf(listedIn(newest))) ? true : undefined,
  );
  // They are one process and have one lease: the same certificate, and after it the same other one.
  const [had, has] = new Set(certificates.flatMap(({ secrets }) => secrets.map(serialOf)));
  for (const { secrets } of certificates) expect(secrets.map(serialOf)).toEqual([had, has]);
  expect(all.filter(({ over }) => over)).toEqual([]);
  const { sds } = await daemon.status();
  expect(sds).toMatchObject({ streams: STREAMS, deltaStreams: STREAMS, rejected: 0n });
  // Deaths that come together go out together.
  expect(Math.max(...bundles.map(({ count }) => count))).toBeLessThan(PROCESSES);

  for (const { cancel } of all) cancel();
  await Promise.all(all.map(({ ended }) => ended));
  for (const caller of callers) caller.close();
});

function serialOf(secret: ReadSecret): string {
  if (secret.kind !== 'certificate') throw new Error(`${secret.name} is no certificate`);
  return secret.serial;
}

function listedIn(secret: ReadSecret): Set<string> {
  if (secret.kind !== 'spiffe') throw new Error('no bundle');
  return new Set(Object.values(secret.domains).flatMap(({ lists }) => lists.flatMap((list) => list.serials)));
}
