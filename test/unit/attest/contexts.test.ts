import { expect, it } from 'vitest';
import type { Context, ContextEnd, ContextKind } from '../../../agent/attest/context.ts';
import { Contexts } from '../../../agent/attest/contexts.ts';

const ID = 'c'.repeat(64);
const CONTAINER: Context = { container: { engine: 'docker', id: ID, started: '2027-01-01T00:00:00Z' } };
const POD: Context = {
  container: { engine: 'containerd', id: ID },
  pod: { uid: 'u1', namespace: 'shop', name: 'pay' },
};

/** Enters, and collects what is said of the end. */
function enter(contexts: Contexts, context: Context) {
  const ends: ContextEnd[] = [];
  return { ends, leave: contexts.enter(context, (end) => ends.push(end)) };
}

const keys = (contexts: Contexts, kind: ContextKind) => [...contexts.inUse(kind)].map(([key]) => key);

it('a context that ends is told to everybody in it, once, and to nobody else', () => {
  const contexts = new Contexts();
  const [one, two, other] = [enter(contexts, POD), enter(contexts, POD), enter(contexts, CONTAINER)];
  contexts.end('pod', 'u1', 'pod-ended');
  contexts.end('container', `${ID}@`, 'container-ended');
  contexts.end('pod', 'u1', 'pod-replaced');
  expect([one.ends, two.ends, other.ends]).toEqual([['pod-ended'], ['pod-ended'], []]);
  expect([keys(contexts, 'pod'), keys(contexts, 'container')]).toEqual([[], [`${ID}@2027-01-01T00:00:00Z`]]);
});

it('who comes in when it is over is told at once, and the next run of the same container is another', () => {
  const contexts = new Contexts();
  contexts.end('container', `${ID}@2027-01-01T00:00:00Z`, 'container-ended');
  expect(enter(contexts, CONTAINER).ends).toEqual(['container-ended']);
  const restarted = enter(contexts, { container: { engine: 'docker', id: ID, started: '2027-01-02T00:00:00Z' } });
  expect(restarted.ends).toEqual([]);
  expect(contexts.count('container')).toBe(1);
});

it('who has left is told nothing', () => {
  const contexts = new Contexts();
  const gone = enter(contexts, POD);
  gone.leave();
  gone.leave();
  contexts.end('pod', 'u1', 'pod-ended');
  expect(gone.ends).toEqual([]);
  expect(contexts.count('pod')).toBe(0);
});

it('who leaves because a neighbour was told is not told any more', () => {
  const contexts = new Contexts();
  const ends: string[] = [];
  let leaveSecond = () => {};
  contexts.enter(POD, () => {
    ends.push('first');
    leaveSecond();
  });
  leaveSecond = contexts.enter(POD, () => ends.push('second'));
  contexts.end('pod', 'u1', 'pod-ended');
  expect(ends).toEqual(['first']);
});

it('a defect of one who is told keeps nobody else from being told', async () => {
  const uncaught = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const crash = new Promise<unknown>((resolve) => {
    process.once('uncaughtException', resolve);
  });
  try {
    const contexts = new Contexts();
    const defect = new Error('a defect');
    contexts.enter(POD, () => {
      throw defect;
    });
    const other = enter(contexts, POD);
    contexts.end('pod', 'u1', 'pod-ended');
    expect(other.ends).toEqual(['pod-ended']);
    expect(await crash).toBe(defect);
  } finally {
    for (const listener of uncaught) process.on('uncaughtException', listener);
  }
});

it('tells when there is something of a kind to watch, and when there is not any more', () => {
  const contexts = new Contexts();
  const told: string[] = [];
  const unfollow = contexts.followUse((kind) => told.push(`${kind} ${contexts.count(kind)}`));
  const [one, two] = [enter(contexts, POD), enter(contexts, POD)];
  expect(told).toEqual(['container 1', 'pod 1']);
  one.leave();
  expect(told).toHaveLength(2);
  two.leave();
  expect(told.slice(2)).toEqual(['container 0', 'pod 0']);
  unfollow();
  enter(contexts, CONTAINER);
  expect(told).toHaveLength(4);
});

it('tells of each context that comes into use, once for all who are in it', () => {
  const contexts = new Contexts();
  const told: (string | undefined)[] = [];
  const unfollow = contexts.followNew((kind, _key, { pod }) => told.push(`${kind} ${pod?.uid}`));
  const [one, two] = [enter(contexts, POD), enter(contexts, POD)];
  enter(contexts, { pod: { uid: 'u2', namespace: 'shop', name: 'ship' } });
  expect(told).toEqual(['container u1', 'pod u1', 'pod u2']);
  one.leave();
  two.leave();
  enter(contexts, POD);
  expect(told.slice(3)).toEqual(['container u1', 'pod u1']);
  unfollow();
  enter(contexts, CONTAINER);
  expect(told).toHaveLength(5);
});

it('who comes in is told at once when one who looks finds it over, and is in nothing then', () => {
  const contexts = new Contexts();
  const looked: string[] = [];
  contexts.followNew((kind, key) => {
    looked.push(kind);
    contexts.end(kind, key, 'container-ended');
  });
  const { ends, leave } = enter(contexts, POD);
  expect(ends).toEqual(['container-ended']);
  expect(looked).toEqual(['container']);
  expect([contexts.count('container'), contexts.count('pod')]).toEqual([0, 0]);
  leave();
});

it('forgets what ended long ago, and keeps what ended last', () => {
  const contexts = new Contexts();
  const pod = (uid: string): Context => ({ pod: { uid, namespace: 'shop', name: 'pay' } });
  for (let n = 0; n < 5000; n += 1) contexts.end('pod', `u${n}`, 'pod-ended');
  expect(enter(contexts, pod('u0')).ends).toEqual([]);
  expect(enter(contexts, pod('u4999')).ends).toEqual(['pod-ended']);
});
