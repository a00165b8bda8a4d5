import type { Clock } from '../../kernel/clock.ts';
import { messageOf } from '../../kernel/errors.ts';
import { type Selector, selector } from '../../kernel/selector.ts';
import type { NamespaceSource } from './api-server.ts';
import { Refusal } from './endpoint.ts';

export interface NamespaceLabelsOptions {
  readonly clock: Clock;
  /** Gets why labels could not be had. */
  readonly failed: (message: string) => void;
}

interface Known {
  readonly selectors: readonly Selector[];
  readonly until: number;
}

// Who relabels a namespace waits that long; what is attested meanwhile is by what it was.
const BELIEVED_MS = 10_000;
// A node has pods of far fewer.
const MOST_KNOWN = 4096;

/** What labels say of namespaces: asked once for all who need it, and believed for a while. */
export class NamespaceLabels {
  readonly #source: NamespaceSource;
  readonly #options: NamespaceLabelsOptions;
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<readonly Selector[]>>();
  readonly #closing = new AbortController();

  /** @param source is this one's from now on: it closes it */
  constructor(source: NamespaceSource, options: NamespaceLabelsOptions) {
    this.#source = source;
    this.#options = options;
  }

  /**
   * The selectors of a namespace. While there is no API server to be asked they are what they were; what it refuses to tell is not
   * believed any more.
   *
   * @throws Error that says why they are not to be had
   */
  of(namespace: string): Promise<readonly Selector[]> {
    const known = this.#known.get(namespace);
    if (known !== undefined && this.#options.clock.monotonic() < known.until) return Promise.resolve(known.selectors);
    const asking =
      this.#asking.get(namespace) ?? this.#ask(namespace, known).finally(() => this.#asking.delete(namespace));
    this.#asking.set(namespace, asking);
    return asking;
  }

  /** Whoever waits gets an error. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#asking.values());
    this.#source.close();
  }

  async #ask(namespace: string, before: Known | undefined): Promise<readonly Selector[]> {
    try {
      const labels = await this.#source.labels(namespace, this.#closing.signal);
      return this.#remember(
        namespace,
        Object.entries(labels).map(([key, value]) => selector('k8s', 'ns-label', key, value)),
      );
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#options.failed(messageOf(error));
      this.#known.delete(namespace);
      if (before === undefined || error instanceof Refusal) throw error;
      return this.#remember(namespace, before.selectors);
    }
  }

  #remember(namespace: string, selectors: readonly Selector[]): readonly Selector[] {
    this.#known.delete(namespace);
    this.#known.set(namespace, { selectors, until: this.#options.clock.monotonic() + BELIEVED_MS });
    const [oldest] = this.#known.keys();
    if (this.#known.size > MOST_KNOWN && oldest !== undefined) this.#known.delete(oldest);
    return selectors;
  }
}
