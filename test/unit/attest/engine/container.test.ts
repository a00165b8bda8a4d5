import { expect, it } from 'vitest';
import { parseContainer } from '../../../../agent/attest/engine/container.ts';
import { recordOf, STARTED } from '../../../support/engine.ts';

const id = 'a1'.repeat(32);
const DIGEST = `sha256:${'0f'.repeat(32)}`;

it('says what the record of the container says, as SPIRE spells it', () => {
  const record = recordOf({
    id,
    pid: 7,
    labels: { 'com.example.name': 'foo', empty: '', path: '/a:b' },
    env: ['VAR=val', 'URL=http://x/?a=b', 'EMPTY='],
    imageName: 'envoyproxy/envoy:contrib-v1.29.1',
    image: DIGEST,
  });
  expect(parseContainer(record)).toEqual({
    id,
    runs: true,
    pid: 7,
    started: STARTED,
    selectors: [
      'docker:label:com.example.name:foo',
      'docker:label:empty:',
      'docker:label:path:/a:b',
      'docker:env:VAR=val',
      'docker:env:URL=http://x/?a=b',
      'docker:env:EMPTY=',
      'docker:image_id:envoyproxy/envoy:contrib-v1.29.1',
      `docker:image_config_digest:${DIGEST}`,
    ],
  });
});

it('has no selectors of what is not there', () => {
  expect(parseContainer(recordOf({ id, pid: 7, imageName: '', image: '' })).selectors).toEqual([]);
  expect(parseContainer(recordOf({ id, pid: 7, env: [''], imageName: 'a' })).selectors).toHaveLength(2);
});

it('says labels by whatever name, those too that JavaScript has for itself', () => {
  const labels = JSON.parse('{"__proto__":"x","constructor":"y","prototype":"z"}') as Record<string, string>;
  expect(parseContainer(recordOf({ id, pid: 7, labels, imageName: '', image: '' })).selectors).toEqual([
    'docker:label:__proto__:x',
    'docker:label:constructor:y',
    'docker:label:prototype:z',
  ]);
});

it.each([
  ['runs', { running: true, pid: 7 }, true],
  ['is paused, whether the engine says that it runs or not', { running: false, paused: true, pid: 7 }, true],
  ['has ended', { running: false, pid: 0 }, false],
  ['is about to be started again', { running: true, pid: 0 }, false],
])('knows one that %s', (_, state, runs) => {
  expect(parseContainer(recordOf({ id, ...state })).runs).toBe(runs);
});

const good = recordOf({ id, pid: 7 }) as { readonly State: object; readonly Config: object };

it.each([
  ['nothing', null],
  ['a list', [good]],
  ['an id that is none', { ...good, Id: 'payments' }],
  ['no state', { ...good, State: undefined }],
  ['a state in words', { ...good, State: 'running' }],
  ['no number', { ...good, State: { ...good.State, Pid: '7' } }],
  ['a number that is none', { ...good, State: { ...good.State, Pid: -1 } }],
  ['no time', { ...good, State: { ...good.State, StartedAt: 'yesterday' } }],
  ['no configuration', { ...good, Config: undefined }],
  ['labels in a list', { ...good, Config: { ...good.Config, Labels: [['a', 'b']] } }],
  ['a label that is no text', { ...good, Config: { ...good.Config, Labels: { a: 1 } } }],
  ['an environment that is text', { ...good, Config: { ...good.Config, Env: 'A=b' } }],
])('refuses a record with %s', (_, record) => {
  expect(() => parseContainer(record)).toThrow('the record has no proper');
});
