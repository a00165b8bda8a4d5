import type { Context, ContextEnd } from '../context.ts';
import type { ContextSource, Following } from '../context-watch.ts';
import type { SystemdManager } from './systemd-manager.ts';

/** The units of the system's manager: which runs of them are over. */
export class SystemdUnits implements ContextSource {
  readonly kind = 'unit';
  readonly lossText = 'the connection to the message bus was lost, or systemd came to it anew';
  readonly #manager: SystemdManager;

  constructor(manager: SystemdManager) {
    this.#manager = manager;
  }

  nameOf({ unit }: Context): string | undefined {
    return unit?.id;
  }

  follow(changed: (id: string) => void, signal: AbortSignal): Promise<Following> {
    return this.#manager.follow(changed, signal);
  }

  async look(id: string, signal: AbortSignal): Promise<(context: Context) => ContextEnd | undefined> {
    const now = await this.#manager.unit(id, signal);
    return ({ unit }) => (now.runs && now.invocation === unit?.invocation ? undefined : 'unit-ended');
  }
}
