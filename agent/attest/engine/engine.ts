import { closeSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../kernel/clock.ts';
import { messageOf, systemCodeOf } from '../../kernel/errors.ts';
import { openPlainPath } from '../../peer/system/plain-path.ts';
import type { Following } from '../context-watch.ts';
import { within } from '../deadline.ts';
import { answerTo, readAnswer, TextSink } from '../http-answer.ts';
import { type Container, parseContainer } from './container.ts';
import { EventLines } from './event-lines.ts';

// An engine that is there and does not answer is left alone before the attestor's own time is over.
const ANSWER_MS = 4000;
// A record has a few kilobytes, and as much more as there are labels and variables.
const MOST_BYTES = 1 << 20;
const EVENTS = `/events?filters=${encodeURIComponent(JSON.stringify({ type: ['container'] }))}`;
// What Docker and podman say of one that they do not have. A server that answers everything with 404 is none.
const NO_SUCH = /no such container/i;

/** Where an engine listens. */
export interface EngineSocket {
  readonly path: string;
  /** Whether a user can put there what he likes. */
  readonly ofUser: boolean;
}

/** A container engine over its Unix socket, in Docker's API, which podman speaks as well. Each request has a connection of its own. */
export class Engine {
  /** As contexts name it: `docker`, `podman`, or `podman-1000` where it is that user's own. */
  readonly name: string;
  readonly socket: string;
  readonly #ofUser: boolean;
  readonly #clock: Clock;

  constructor(name: string, { ofUser, path }: EngineSocket, clock: Clock) {
    this.name = name;
    this.socket = path;
    this.#ofUser = ofUser;
    this.#clock = clock;
  }

  /**
   * What the engine says of a container now; `undefined` when it has none with this id.
   *
   * @param id 64 hexadecimal digits
   * @throws Error when the engine cannot be asked, or answers something else
   */
  async container(id: string, signal: AbortSignal): Promise<Container | undefined> {
    return await within(ANSWER_MS, this.#clock, signal, async (either) => {
      try {
        const response = await this.#get(`/containers/${id}/json`, either);
        const text = await textOf(response);
        if (response.statusCode === 404 && NO_SUCH.test(text)) return undefined;
        if (response.statusCode !== 200) throw new Error(`it answers with status ${response.statusCode}`);
        const container = parseContainer(JSON.parse(text));
        if (container.id !== id) throw new Error('it answers with another container');
        return container;
      } catch (error) {
        throw this.#failure(error, either);
      }
    });
  }

  /**
   * Has `changed` called with the id of each container that may have started or ended, and without one when it may be any. That is a
   * reason to look and nothing more.
   *
   * @throws Error when the engine cannot be asked; the reason of `signal`
   */
  async follow(changed: (id: string | undefined) => void, signal: AbortSignal): Promise<Following> {
    const stopped = new AbortController();
    const response = await within(ANSWER_MS, this.#clock, signal, async (either) => {
      const stop = (): void => stopped.abort();
      either.addEventListener('abort', stop);
      try {
        const begun = await this.#get(EVENTS, stopped.signal);
        if (begun.statusCode === 200) return begun;
        begun.destroy();
        throw new Error(`it answers with status ${begun.statusCode}`);
      } catch (error) {
        throw this.#failure(error, either);
      } finally {
        either.removeEventListener('abort', stop);
      }
    });
    const lines = new EventLines(changed);
    // How it ends says nothing: what was missed is found by asking.
    const over = readAnswer(response, Number.POSITIVE_INFINITY, lines).catch(() => undefined);
    return { over, stop: () => stopped.abort() };
  }

  async #get(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    signal.throwIfAborted();
    if (!this.#ofUser) return await getOver(this.socket, path, signal);
    // A path is walked on the main thread when a socket is connected, and a link of his could lead to where nobody answers.
    const descriptor = await openPlainPath(this.socket);
    if (descriptor === undefined) throw new Error('there is no such socket, or a link on the way to it');
    try {
      return await getOver(`/proc/self/fd/${descriptor}`, path, signal);
    } finally {
      closeSync(descriptor);
    }
  }

  #failure(error: unknown, signal: AbortSignal): Error {
    const text = signal.aborted ? messageOf(signal.reason) : textOfError(error);
    return new Error(`${this.name} at ${this.socket} cannot be asked: ${text}`, { cause: error });
  }
}

function getOver(socketPath: string, path: string, signal: AbortSignal): Promise<IncomingMessage> {
  return answerTo({ agent: false, headers: { host: 'localhost' }, path, signal, socketPath }, { secure: false });
}

async function textOf(response: IncomingMessage): Promise<string> {
  const sink = new TextSink();
  await readAnswer(response, MOST_BYTES, sink);
  return sink.text;
}

const TEXTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'the agent may not connect to it',
};

function textOfError(error: unknown): string {
  return TEXTS[systemCodeOf(error) ?? ''] ?? messageOf(error);
}
