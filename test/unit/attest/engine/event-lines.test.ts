import { expect, it } from 'vitest';
import { EventLines } from '../../../../agent/attest/engine/event-lines.ts';

const ID = 'a1'.repeat(32);

function changesIn(...chunks: readonly (string | Buffer)[]): readonly (string | undefined)[] {
  const changed: (string | undefined)[] = [];
  const lines = new EventLines((id) => changed.push(id));
  for (const chunk of chunks) lines.push(Buffer.from(chunk));
  lines.end();
  return changed;
}

/** As Docker 20.10 writes it. */
const docker = (action: string): string =>
  `${JSON.stringify({ status: action, id: ID, Type: 'container', Action: action, Actor: { ID, Attributes: { a: 'b' } }, time: 1 })}\n`;

it.each(['die', 'died', 'stop', 'start', 'destroy', 'remove', 'cleanup'])('names the container of a %s', (action) => {
  expect(changesIn(docker(action))).toEqual([ID]);
});

it.each(['exec_create: /bin/sh', 'exec_die', 'health_status: healthy', 'top', 'create', 'dies'])(
  'is not concerned with %s',
  (action) => {
    expect(changesIn(docker(action))).toEqual([]);
  },
);

it('reads what has the older names alone', () => {
  expect(changesIn(JSON.stringify({ status: 'die', id: ID }))).toEqual([ID]);
});

it('reads lines whatever pieces they arrive in', () => {
  const text = `${docker('die')}\n${docker('top')}${docker('start')}`;
  expect(changesIn(text)).toEqual([ID, ID]);
  expect(changesIn(...text.split(/(?<=.)/s))).toEqual([ID, ID]);
});

it.each(['{', '"die"', 'null', '<html>', '{"Action":"die"}', '{"Action":"die","Actor":{"ID":7}}'])(
  'takes %s for something that may have happened to any',
  (line) => {
    expect(changesIn(`${line}\n`)).toEqual([undefined]);
  },
);

it('passes over a line that is too long, keeps nothing of it, and reads on', () => {
  const long = Buffer.alloc(700_000, 'x');
  expect(changesIn(long, long, long, `\n${docker('die')}`)).toEqual([undefined, ID]);
});
