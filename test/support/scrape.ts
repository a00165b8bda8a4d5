import { request } from 'node:http';

/** What a page was answered with. */
export interface Answered {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** Where an agent's pages are: the path of a socket, or a port of this machine. */
export type PagePlace = string | number;

export function getPage(place: PagePlace, path: string): Promise<Answered> {
  const { promise, resolve, reject } = Promise.withResolvers<Answered>();
  const at = typeof place === 'string' ? { socketPath: place } : { host: '127.0.0.1', port: place };
  request({ ...at, path }, (response) => {
    const chunks: string[] = [];
    response.setEncoding('utf8').on('data', (text: string) => chunks.push(text));
    response.on('error', reject);
    response.on('end', () =>
      resolve({
        status: response.statusCode ?? 0,
        type: response.headers['content-type'] ?? '',
        body: chunks.join(''),
      }),
    );
  })
    .on('error', reject)
    .end();
  return promise;
}

/** The metrics of an agent as they were at one moment. */
export class Scraped {
  /** As it was sent. */
  readonly text: string;
  readonly #values = new Map<string, number>();

  static async of(place: PagePlace): Promise<Scraped> {
    const { body, status, type } = await getPage(place, '/metrics');
    if (status !== 200) throw new Error(`${status}: ${body}`);
    if (!type.startsWith('text/plain; version=0.0.4')) throw new Error(`a type that is none of Prometheus: ${type}`);
    return new Scraped(body);
  }

  constructor(text: string) {
    this.text = text;
    for (const line of text.split('\n')) {
      if (line === '' || line.startsWith('#')) continue;
      const [, name = '', labels = '', value] = /^([a-z0-9_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (value === undefined) throw new Error(`no metric: ${line}`);
      this.#values.set(keyOf(name, labelsOf(labels)), value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value));
    }
  }

  /** By name: what each family is said to be. */
  get types(): ReadonlyMap<string, string> {
    return new Map([...this.text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]));
  }

  /** The names of all families that are told of. */
  get names(): readonly string[] {
    return [...this.text.matchAll(/^# HELP (\S+) ./gm)].map(([, name = '']) => name);
  }

  /** `undefined` when there is no such metric. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    return this.#values.get(keyOf(name, labels));
  }
}

function labelsOf(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    [...text.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)].map(([, name = '', value = '']) => [name, value]),
  );
}

function keyOf(name: string, labels: Readonly<Record<string, string>>): string {
  return JSON.stringify([name, ...Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1))]);
}
