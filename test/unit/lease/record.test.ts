import { afterEach, expect, it } from 'vitest';
import { parseAudiences } from '../../../agent/kernel/audience.ts';
import { parseSelector } from '../../../agent/kernel/selector.ts';
import { plainEntry } from '../../support/entry.ts';
import { livingInstance } from '../../support/instance.ts';
import { leaseWorld } from '../../support/lease-world.ts';

const A = parseAudiences(['a']);
const STAGE = 'docker:env:STAGE=prod';

let world: ReturnType<typeof leaseWorld>;
afterEach(() => world.close());

it('the ledger has all that was attested, but of the environment only what the entry asks for', async () => {
  const selectors = ['unix:uid:1000', STAGE].map(parseSelector);
  world = leaseWorld([plainEntry('plain'), plainEntry('staged', { selectors: selectors as [(typeof selectors)[0]] })]);
  world.found.selectors = ['docker:label:tier:web', STAGE, 'docker:env:PASSWORD=hunter2'];
  const workload = world.leases.of(livingInstance());
  await workload.jwt(A, undefined);
  expect(world.ledger.of('svid.issued').map(({ entry, selectors: told }) => [entry, told])).toEqual([
    ['plain', ['docker:label:tier:web', 'unix:uid:1000']],
    ['staged', ['docker:env:STAGE=prod', 'docker:label:tier:web', 'unix:uid:1000']],
  ]);
});

it('the ledger has nothing of the environment of a process that gets nothing', async () => {
  world = leaseWorld([plainEntry('other', { selectors: [parseSelector('unix:uid:1')] })]);
  world.found.selectors = ['docker:label:tier:web', 'docker:env:PASSWORD=hunter2'];
  await expect(world.leases.of(livingInstance()).jwt(A, undefined)).rejects.toMatchObject({ code: 'NO_IDENTITY' });
  expect(world.ledger.of('caller.refused').map(({ selectors }) => selectors)).toEqual([
    ['docker:label:tier:web', 'unix:uid:1000'],
  ]);
});

it('the ledger has as much of a flood of labels as of a process that means well, and what the entry asks for', async () => {
  const label = (number: number) => `docker:label:${String(number).padStart(5, '0')}:${'x'.repeat(200)}`;
  const asked = [parseSelector('unix:uid:1000'), parseSelector(label(4999))] as const;
  world = leaseWorld([plainEntry('plain'), plainEntry('picky', { selectors: asked })]);
  world.found.selectors = [...Array.from({ length: 5000 }, (_, number) => label(number)), 'k8s:ns:shop'];
  const workload = world.leases.of(livingInstance());
  await workload.jwt(A, undefined);
  const [picky, plain] = world.ledger.of('svid.issued').toSorted((a, b) => (a.entry < b.entry ? -1 : 1));
  expect(plain?.selectors.join('').length).toBeLessThan(16_384);
  expect(plain?.selectors).toEqual(expect.arrayContaining(['k8s:ns:shop', 'unix:uid:1000']));
  expect(plain?.selectors).not.toContain(label(4999));
  expect((plain?.selectors.length ?? 0) + (plain?.selectors_left_out ?? 0)).toBe(5002);
  expect(picky?.selectors).toEqual([...(plain?.selectors ?? []), label(4999)].toSorted());
  expect(picky?.selectors_left_out).toBe((plain?.selectors_left_out ?? 0) - 1);
});
