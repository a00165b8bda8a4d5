import type { EntrySpec } from './agent.ts';
import { Agent, TRUST_DOMAIN } from './agent.ts';
import type { Update } from './client.ts';
import { Client } from './client.ts';
import type { Equipment } from './equipment.ts';

/** How long a source may take: it reconnects on a connection of its own, after a backoff of its own. */
export const RECOVERY = { timeout: 20_000, interval: 50 };

export interface Watching extends AsyncDisposable {
  readonly agent: Agent;
  readonly workload: Client;
}

/** An agent with a workload that has all sources open. */
export async function watching(client: Equipment, entries: readonly EntrySpec[]): Promise<Watching> {
  await using stack = new AsyncDisposableStack();
  const agent = stack.use(await Agent.start(entries));
  const workload = stack.use(Client.start(client, agent.socket));
  await workload.ask('watch');
  const started = stack.move();
  return { agent, workload, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

export function idOf(name: string): string {
  return `spiffe://${TRUST_DOMAIN}/${name}`;
}

export function idsOf(update: Update): string[] {
  return update.svids.map(({ id }) => id);
}

export function hintsOf(update: Update): (string | undefined)[] {
  return update.svids.map(({ hint }) => hint);
}
