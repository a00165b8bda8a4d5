import type { Context, ContextEnd } from '../context.ts';
import type { ContextSource, Following } from '../context-watch.ts';
import type { Engine } from './engine.ts';

/** The containers of one engine: which runs of them are over. */
export class EngineContainers implements ContextSource {
  readonly kind = 'container';
  readonly lossText = 'the connection was lost';
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  nameOf({ container }: Context): string | undefined {
    // Of a run that another has named, as the kubelet does, the engine could not say which it is.
    return container?.engine === this.#engine.name && container.started !== undefined ? container.id : undefined;
  }

  follow(changed: (id: string | undefined) => void, signal: AbortSignal): Promise<Following> {
    return this.#engine.follow(changed, signal);
  }

  async look(id: string, signal: AbortSignal): Promise<(context: Context) => ContextEnd | undefined> {
    const now = await this.#engine.container(id, signal);
    return ({ container }) =>
      now?.runs === true && now.started === container?.started ? undefined : 'container-ended';
  }
}
