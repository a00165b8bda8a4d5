import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { NOTHING } from '../../../../agent/attest/attestor.ts';
import type { ContainerPlace } from '../../../../agent/attest/container/container-path.ts';
import type { ContextEnd } from '../../../../agent/attest/context.ts';
import { Contexts } from '../../../../agent/attest/contexts.ts';
import { dockerAttestor } from '../../../../agent/attest/engine/docker.ts';
import { podmanAttestor } from '../../../../agent/attest/engine/podman.ts';
import { AttestationRunner } from '../../../../agent/attest/runner.ts';
import { SystemClock } from '../../../../agent/kernel/clock.ts';
import { readStartTime } from '../../../../agent/peer/system/proc.ts';
import { STARTED, TestEngine } from '../../../support/engine.ts';
import { livingInstance } from '../../../support/instance.ts';
import { Processes } from '../../../support/processes.ts';

const clock = new SystemClock();
const ID = 'a1'.repeat(32);
const OTHER = 'b2'.repeat(32);
const LATER = '2026-01-02T04:00:00Z';
const IMAGE = [`docker:image_id:shop/payments:1`, `docker:image_config_digest:sha256:${'0f'.repeat(32)}`];

let processes: Processes;
let directory: string;
let engine: TestEngine;
let contexts: Contexts;
let attestor: ReturnType<typeof dockerAttestor>;
/** Where each process is by its cgroup. */
let places: Map<number, ContainerPlace | Error>;
/** Of whatever containers there are, the first process. */
let first: number;

beforeEach(async () => {
  processes = new Processes();
  directory = mkdtempSync(join(tmpdir(), 'mayfly-engine-'));
  engine = new TestEngine(join(directory, 'engine.sock'));
  await engine.start();
  contexts = new Contexts();
  places = new Map();
  first = (await processes.sleeper()).pid;
  attestor = dockerAttestor(engine.path, options());
});

afterEach(async () => {
  await attestor.close();
  await engine.stop();
  processes.clean();
  rmSync(directory, { recursive: true });
});

function options() {
  const placeOf = ({ pid }: { readonly pid: number }) => {
    const place = places.get(pid);
    if (place instanceof Error) throw place;
    return place;
  };
  return { contexts, clock, placeOf, recordLag: 250 };
}

function at(id: string, more: Partial<ContainerPlace> = {}): ContainerPlace {
  return { engine: 'docker', id, podUid: undefined, owner: undefined, cgroup: `/docker/${id}`, ...more };
}

/** A process beside the first one of the container with {@link ID}, and somewhere else where a test says so. */
async function caller(place: ContainerPlace = at(ID)) {
  const { pid } = await processes.sleeper();
  engine.set({ id: ID, pid: first, labels: { tier: 'web' }, env: ['A=b'] });
  places.set(first, at(ID));
  places.set(pid, place);
  return { ...livingInstance(), pid };
}

const WEB = {
  selectors: ['docker:label:tier:web', 'docker:env:A=b', ...IMAGE],
  context: { container: { engine: 'docker', id: ID, started: STARTED } },
};

function attest(instance: Awaited<ReturnType<typeof caller>>, signal = new AbortController().signal) {
  return attestor.attest(instance, signal);
}

describe('what the docker attestor says', () => {
  it('says what the engine has written down of the container, and which run of it that is', async () => {
    expect(await attest(await caller())).toEqual(WEB);
    expect(engine.asked).toEqual([`/containers/${ID}/json`]);
    expect(attestor.shortcomings()).toEqual([]);
  });

  it.each([
    ['in no container', undefined],
    ["in another engine's", at(ID, { engine: 'containerd' })],
    ["in podman's", at(ID, { engine: 'podman' })],
    ['in a pod', at(ID, { podUid: 'c3'.repeat(16) })],
    ["in a user's own container, whatever it is called", at(ID, { owner: 1000 })],
  ])('asks nobody about a process %s', async (_, place) => {
    const instance = await caller();
    if (place === undefined) places.delete(instance.pid);
    else places.set(instance.pid, place);
    await engine.stop();
    expect(await attest(instance)).toBe(NOTHING);
    expect(engine.asked).toEqual([]);
    await engine.start();
  });

  it('asks about a container that is named by its bare id, which may be of another engine', async () => {
    const bare = at(ID, { engine: 'unknown', cgroup: `/ecs/task/${ID}` });
    const instance = await caller(bare);
    places.set(first, bare);
    expect(await attest(instance)).toEqual(WEB);
    engine.containers.clear();
    expect(await attest(instance)).toBe(NOTHING);
  });

  it('waits for a record that lags behind its container', async () => {
    const instance = await caller();
    engine.set({ id: ID, pid: 0, running: false });
    const answer = attest(instance);
    await vi.waitFor(() => expect(engine.questions).toBe(1));
    engine.set({ id: ID, pid: first, labels: { tier: 'web' }, env: ['A=b'] });
    expect(await answer).toEqual(WEB);
  });
});

describe('a container that is not what the cgroup says', () => {
  it('is never taken from labels and variables that name another', async () => {
    engine.set({ id: OTHER, pid: first, labels: { tier: 'admin' } });
    const instance = await caller();
    const forged = { id: ID, pid: first, labels: { id: OTHER, tier: 'web' }, env: [`HOSTNAME=${OTHER.slice(0, 12)}`] };
    engine.set(forged);
    const { context, selectors } = await attest(instance);
    expect(context.container?.id).toBe(ID);
    expect(selectors).not.toContain('docker:label:tier:admin');
    expect(engine.asked).toEqual([`/containers/${ID}/json`]);
  });

  it.each([
    ['the engine does not have', () => engine.containers.delete(ID), 'the engine has no such container'],
    ['has ended', () => engine.set({ id: ID, pid: 0, running: false }), 'the engine says that it does not run'],
    [
      'is somewhere else: the cgroup only bears its name',
      () => places.set(first, at(ID, { cgroup: `/system.slice/docker-${ID}.scope` })),
      `is in cgroup "/system.slice/docker-${ID}.scope", and not in "/docker/${ID}"`,
    ],
    [
      "has another's number: the agent sees other processes than the engine",
      () => places.set(first, at(OTHER)),
      'its first process',
    ],
    ['has a first process that is in none', () => places.delete(first), 'its first process'],
    ['has a first process that is gone', () => places.set(first, new Error('no such process')), 'its first process'],
  ])('is refused where it is one that %s', async (_, change, text) => {
    const instance = await caller();
    change();
    await expect(attest(instance)).rejects.toThrow(text);
    expect(attestor.shortcomings()).toHaveLength(1);
    expect(attestor.shortcomings()[0]).toContain('the engine contradicts that');
  });

  it('is refused to a process that is older: it has moved there from elsewhere', async () => {
    const instance = await caller();
    let younger = first;
    // Ticks are hundredths of a second.
    while (readStartTime(younger) === readStartTime(first)) younger = (await processes.sleeper()).pid;
    places.set(younger, at(ID));
    engine.set({ id: ID, pid: younger });
    places.set(first, at(ID));
    await expect(attest({ ...instance, pid: first })).rejects.toThrow('the process is older than the container');
  });

  it('is unknown where the cgroup cannot be told', async () => {
    const instance = await caller();
    places.set(instance.pid, new Error('it names two containers'));
    await expect(attest(instance)).rejects.toThrow('it names two containers');
    expect(engine.asked).toEqual([]);
  });
});

describe('an engine that cannot be asked', () => {
  it('leaves the caller unknown while it is away, and knows it when it is back', async () => {
    const instance = await caller();
    await engine.stop();
    await expect(attest(instance)).rejects.toThrow(/cannot be asked: (there is no such socket|nobody listens there)/);
    expect(attestor.shortcomings()[0]).toContain('An engine could not be asked');
    await engine.start();
    expect(await attest(instance)).toEqual(WEB);
  });

  it.each([
    ['no JSON', 200, '<html>hello</html>'],
    ['other JSON', 200, '[]'],
    [
      'another container',
      200,
      JSON.stringify({ Id: OTHER, State: { Running: true, Pid: 1, StartedAt: LATER }, Config: {} }),
    ],
    ['nothing', 200, ''],
    ['an error', 500, '{"message":"oops"}'],
    ['404 to whatever', 404, 'not found'],
    ['a redirection', 302, ''],
  ])('is one that answers with %s', async (_, status, body) => {
    const instance = await caller();
    engine.instead = (_request, response) => response.writeHead(status, { location: '/' }).end(body);
    await expect(attest(instance)).rejects.toThrow('cannot be asked');
    expect(engine.questions).toBe(1);
  });

  it('is one whose answer has no end, which is not read', async () => {
    const instance = await caller();
    let written = 0;
    engine.instead = (_request, response) => {
      response.writeHead(200);
      const chunk = Buffer.alloc(65_536, 'x');
      const more = (): void => {
        while (!response.destroyed && written < 100 * 1024 * 1024) {
          written += chunk.length;
          if (!response.write(chunk)) break;
        }
      };
      response.on('drain', more);
      more();
    };
    await expect(attest(instance)).rejects.toThrow('answers with more than 1048576 bytes');
    expect(written).toBeLessThan(16 * 1024 * 1024);
  });

  it('is one that says how long its answer is, and it is too long', async () => {
    const instance = await caller();
    engine.instead = (_request, response) =>
      response.writeHead(200, { 'content-length': 100 * 1024 * 1024 }).write('x');
    await expect(attest(instance)).rejects.toThrow('answers with more than 1048576 bytes');
  });

  it('is one that breaks off', async () => {
    const instance = await caller();
    engine.instead = (_request, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('{');
      setImmediate(() => response.destroy());
    };
    await expect(attest(instance)).rejects.toThrow('cannot be asked');
  });

  it('keeps nobody waiting who has given up, and closes the connection', async () => {
    const instance = await caller();
    const closed = Promise.withResolvers<void>();
    engine.instead = (request) => request.socket.once('close', () => closed.resolve());
    const abort = new AbortController();
    const answer = attest(instance, abort.signal);
    await vi.waitFor(() => expect(engine.questions).toBe(1));
    abort.abort(new Error('no answer within 5000 ms'));
    await expect(answer).rejects.toThrow('no answer within 5000 ms');
    await closed.promise;
  });

  it('fails the callers that are in a container, and serves the others', async () => {
    const inside = await caller();
    const outside = livingInstance();
    const runner = new AttestationRunner([attestor], { clock, deadline: 200 });
    engine.instead = () => undefined;
    const held = expect(runner.attest(inside)).rejects.toMatchObject({ code: 'ATTESTATION_FAILED' });
    expect((await runner.attest(outside)).selectors.size).toBe(0);
    await held;
    expect(engine.questions).toBe(1);
    await runner.close();
  });
});

describe('a container that ends', () => {
  let ends: ContextEnd[];

  beforeEach(() => {
    ends = [];
  });

  async function enter() {
    const { context } = await attest(await caller());
    contexts.enter(context, (end) => ends.push(end));
    await vi.waitFor(() => expect(engine.followers).toBe(1));
  }

  it('takes its processes along at once, which the engine tells', async () => {
    await enter();
    engine.set({ id: ID, pid: 0, running: false });
    engine.tell({ status: 'die', id: ID, Type: 'container', Action: 'die', Actor: { ID } });
    await vi.waitFor(() => expect(ends).toEqual(['container-ended']));
    expect(contexts.count('container')).toBe(0);
    await vi.waitFor(() => expect(engine.followers).toBe(0));
  });

  it('is over when it was started again under its id', async () => {
    await enter();
    engine.set({ id: ID, pid: first, started: LATER });
    engine.tell({ status: 'start', id: ID });
    await vi.waitFor(() => expect(ends).toEqual(['container-ended']));
  });

  it('is over when the engine has it no more', async () => {
    await enter();
    engine.containers.clear();
    engine.tell({ status: 'destroy', id: ID });
    await vi.waitFor(() => expect(ends).toEqual(['container-ended']));
  });

  it('between what was found and the lease that hangs on it is noticed, while others are watched', async () => {
    await enter();
    const before = engine.questions;
    const late: ContextEnd[] = [];
    // Of a run that the engine has told the end of before anybody was in it.
    contexts.enter({ container: { engine: 'docker', id: OTHER, started: STARTED } }, (end) => late.push(end));
    await vi.waitFor(() => expect(late).toEqual(['container-ended']));
    expect(ends).toEqual([]);
    expect(engine.questions).toBe(before + 1);
  });

  it('is found to be over after events that nobody can read', async () => {
    await enter();
    engine.set({ id: ID, pid: 0, running: false });
    engine.write('rubbish\n');
    await vi.waitFor(() => expect(ends).toEqual(['container-ended']));
  });

  it('is not taken for over because of words: the engine is asked', async () => {
    await enter();
    const before = engine.questions;
    engine.tell({ status: 'die', id: ID });
    await vi.waitFor(() => expect(engine.questions).toBeGreaterThan(before));
    engine.tell({ status: 'die', id: OTHER });
    engine.tell({ status: 'exec_die', id: ID });
    await new Promise(setImmediate);
    expect(ends).toEqual([]);
    expect(engine.asked).not.toContain(`/containers/${OTHER}/json`);
  });

  it('is found to be over when it ended while the engine was away', async () => {
    await enter();
    await engine.stop();
    await vi.waitFor(() => expect(attestor.shortcomings().join()).toContain('goes unnoticed'));
    expect(ends).toEqual([]);
    engine.set({ id: ID, pid: 0, running: false });
    await engine.start();
    await vi.waitFor(() => expect(ends).toEqual(['container-ended']), 5000);
    await vi.waitFor(() => expect(attestor.shortcomings().join()).not.toContain('goes unnoticed'));
  });

  it('goes on when the engine was away, or talked rubbish for a while', async () => {
    await enter();
    engine.instead = (_request, response) => response.writeHead(404).end('not found');
    engine.cut();
    await vi.waitFor(() => expect(attestor.shortcomings().join()).toContain('goes unnoticed'));
    engine.instead = undefined;
    await vi.waitFor(() => expect(engine.followers).toBe(1), 5000);
    await vi.waitFor(() => expect(attestor.shortcomings().join()).not.toContain('goes unnoticed'));
    expect(ends).toEqual([]);
    engine.set({ id: ID, pid: 0, running: false });
    engine.tell({ status: 'die', id: ID });
    await vi.waitFor(() => expect(ends).toEqual(['container-ended']));
  });

  it('does not wait for another of which the engine says nothing', async () => {
    await enter();
    const { instead } = engine;
    const hung = { container: { engine: 'docker', id: OTHER, started: STARTED } };
    const ofOther: ContextEnd[] = [];
    contexts.enter(hung, (end) => ofOther.push(end));
    engine.instead = (request, response) => {
      if (request.url?.includes(OTHER) === true) return;
      response.writeHead(404).end(`{"message":"No such container: ${ID}"}`);
    };
    engine.tell({ status: 'die', id: OTHER });
    engine.tell({ status: 'die', id: ID });
    await vi.waitFor(() => expect(ends).toEqual(['container-ended']));
    expect(ofOther).toEqual([]);
    engine.instead = instead;
  });
});

describe('podman', () => {
  let podman: ReturnType<typeof podmanAttestor>;
  let ofUser: TestEngine;

  beforeEach(async () => {
    ofUser = new TestEngine(join(directory, 'user.sock'));
    await ofUser.start();
    const users = { socket: engine.path, rootlessUsers: [1000] };
    podman = podmanAttestor(users, options(), () => ofUser.path);
  });
  afterEach(async () => {
    await podman.close();
    await ofUser.stop();
  });

  const signal = new AbortController().signal;

  it("is asked about root's containers, and says docker: as SPIRE does", async () => {
    const place = at(ID, { engine: 'podman', cgroup: `/libpod_parent/libpod-${ID}` });
    const instance = await caller(place);
    places.set(first, place);
    expect(await podman.attest(instance, signal)).toEqual({
      selectors: WEB.selectors,
      context: { container: { engine: 'podman', id: ID, started: STARTED } },
    });
    expect(ofUser.asked).toEqual([]);
  });

  it('is asked about those of a user who is believed, and of no other', async () => {
    const place = at(ID, { engine: 'podman', owner: 1000, cgroup: `/user.slice/libpod-${ID}.scope` });
    const instance = await caller(place);
    places.set(first, place);
    ofUser.set({ id: ID, pid: first, labels: { tier: 'own' } });
    const { context, selectors } = await podman.attest(instance, signal);
    expect(selectors).toContain('docker:label:tier:own');
    expect(context.container?.engine).toBe('podman-1000');
    places.set(instance.pid, { ...place, owner: 1001 });
    expect(await podman.attest(instance, signal)).toBe(NOTHING);
    places.set(instance.pid, at(ID));
    expect(await podman.attest(instance, signal)).toBe(NOTHING);
    expect(engine.asked).toEqual([]);
  });

  it('of a user is not asked over a link, which he could lead anywhere', async () => {
    const link = join(directory, 'link.sock');
    symlinkSync(ofUser.path, link);
    const linked = podmanAttestor({ socket: engine.path, rootlessUsers: [1000] }, options(), () => link);
    const place = at(ID, { engine: 'podman', owner: 1000, cgroup: `/user.slice/libpod-${ID}.scope` });
    const instance = await caller(place);
    places.set(first, place);
    ofUser.set({ id: ID, pid: first });
    await expect(linked.attest(instance, signal)).rejects.toThrow('no such socket, or a link on the way to it');
    expect(ofUser.asked).toEqual([]);
    await linked.close();
  });

  it("ends what is its own user's alone", async () => {
    const place = at(ID, { engine: 'podman', owner: 1000, cgroup: `/user.slice/libpod-${ID}.scope` });
    const instance = await caller(place);
    places.set(first, place);
    ofUser.set({ id: ID, pid: first });
    const { context } = await podman.attest(instance, signal);
    const ends: ContextEnd[] = [];
    const ofRoot: ContextEnd[] = [];
    contexts.enter(context, (end) => ends.push(end));
    engine.set({ id: OTHER, pid: first });
    contexts.enter({ container: { engine: 'podman', id: OTHER, started: STARTED } }, (end) => ofRoot.push(end));
    await vi.waitFor(() => expect(ofUser.followers).toBe(1));
    ofUser.containers.clear();
    ofUser.tell({ status: 'died', id: OTHER });
    ofUser.tell({ status: 'died', id: ID });
    await vi.waitFor(() => expect(ends).toEqual(['container-ended']));
    expect(ofRoot).toEqual([]);
  });
});

it('watches containers that were in use before anybody asked about one', async () => {
  await attestor.close();
  engine.set({ id: ID, pid: first });
  const ends: ContextEnd[] = [];
  contexts.enter(WEB.context, (end) => ends.push(end));
  attestor = dockerAttestor(engine.path, options());
  await vi.waitFor(() => expect(engine.followers).toBe(1));
  engine.containers.clear();
  engine.tell({ status: 'destroy', id: ID });
  await vi.waitFor(() => expect(ends).toEqual(['container-ended']));
});

it('leaves no connection to an engine behind', async () => {
  const { context } = await attest(await caller());
  contexts.enter(context, () => undefined);
  await vi.waitFor(() => expect(engine.followers).toBe(1));
  await attestor.close();
  await vi.waitFor(() => expect(engine.followers).toBe(0));
  const probe = connect(engine.path);
  await new Promise((resolve) => probe.once('connect', resolve));
  probe.destroy();
});
