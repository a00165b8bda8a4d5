import { afterEach, expect, it } from 'vitest';
import { parseAudiences } from '../../../agent/kernel/audience.ts';
import { parseSelector } from '../../../agent/kernel/selector.ts';
import { livingInstance } from '../../support/instance.ts';
import { entryOf, leaseWorld } from '../../support/lease-world.ts';

const A = parseAudiences(['a']);
const STAGE = 'docker:env:STAGE=prod';

let world: ReturnType<typeof leaseWorld>;
afterEach(() => world.close());

it('the ledger has all that was attested, but of the environment only what the entry asks for', async () => {
  const selectors = ['unix:uid:1000', STAGE].map(parseSelector);
  world = leaseWorld([entryOf('plain'), entryOf('staged', { selectors: selectors as [(typeof selectors)[0]] })]);
  world.found.selectors = ['docker:label:tier:web', STAGE, 'docker:env:PASSWORD=hunter2'];
  const workload = world.leases.of(livingInstance());
  await workload.jwt(A, undefined);
  expect(world.ledger.of('svid.issued').map(({ entry, selectors: told }) => [entry, told])).toEqual([
    ['plain', ['docker:label:tier:web', 'unix:uid:1000']],
    ['staged', ['docker:env:STAGE=prod', 'docker:label:tier:web', 'unix:uid:1000']],
  ]);
});

it('the ledger has nothing of the environment of a process that gets nothing', async () => {
  world = leaseWorld([entryOf('other', { selectors: [parseSelector('unix:uid:1')] })]);
  world.found.selectors = ['docker:label:tier:web', 'docker:env:PASSWORD=hunter2'];
  await expect(world.leases.of(livingInstance()).jwt(A, undefined)).rejects.toMatchObject({ code: 'NO_IDENTITY' });
  expect(world.ledger.of('caller.refused').map(({ selectors }) => selectors)).toEqual([
    ['docker:label:tier:web', 'unix:uid:1000'],
  ]);
});
