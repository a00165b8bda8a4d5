import { describe } from 'vitest';
import { theChanges } from './contract-changes.ts';
import { theOutages } from './contract-outages.ts';
import { theSteadyState } from './contract-steady.ts';
import type { Equipment } from './equipment.ts';
import { equipped } from './equipment.ts';
import type { Consumer } from './evidence/evidence.ts';
import type { Traits } from './traits.ts';

/** What every client library gets from the agent, each against a real daemon and from a process of its own. */
export function workloadContract(consumer: Consumer<'libraries'>, client: Equipment, traits: Traits): void {
  equipped(consumer.name, [client], () => {
    describe('with identities that stay', () => theSteadyState(consumer, client, traits));
    theChanges(consumer, client, traits);
    theOutages(consumer, client, traits);
  });
}
