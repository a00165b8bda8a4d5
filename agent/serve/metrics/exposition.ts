import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import Registry from 'prom-client/lib/registry.js';
import { EntryLabels } from './entry-labels.ts';
import type { Family, Reading } from './family.ts';
import type { Readings } from './figures.ts';
import { GROUPS } from './figures.ts';
import { Measurements } from './measurements.ts';
import type { Page } from './monitor.ts';

/** All metrics of an agent: what is measured as it happens, and what is read when somebody asks. */
export class Exposition {
  readonly entryLabels = new EntryLabels();
  /** To be told of what happens. */
  readonly measurements: Measurements;
  readonly #registry = new Registry();
  readonly #metrics = new Map<string, Counter | Gauge>();
  #underWay: Promise<Page> | undefined;

  /** @param families what is read, by name: counters and gauges */
  constructor(
    families: Iterable<readonly [string, Family]> = GROUPS.flatMap((group) => Object.entries(group.families)),
  ) {
    const registers = [this.#registry];
    for (const [name, { help, labels, type }] of families) {
      const parts = { name, help, labelNames: [...labels], registers };
      this.#metrics.set(name, type === 'counter' ? new Counter(parts) : new Gauge(parts));
    }
    this.measurements = new Measurements(this.#registry, this.entryLabels);
  }

  /** The metrics as Prometheus reads them. Who asks while they are collected gets the same: many cost no more than one. */
  page(read: () => Promise<Readings>): Promise<Page> {
    this.#underWay ??= this.#collect(read).finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #collect(read: () => Promise<Readings>): Promise<Page> {
    for (const [name, reading] of await read()) this.#set(name, reading);
    return { status: 200, body: await this.#registry.metrics(), type: this.#registry.contentType };
  }

  /** Nothing of the last time stays: what has no reading now is not told. */
  #set(name: string, reading: Reading): void {
    const metric = this.#metrics.get(name);
    if (metric === undefined) throw new Error(`${name} is read and was not declared`);
    metric.reset();
    if (reading === undefined) metric.remove();
    const samples = typeof reading === 'number' ? [{ labels: {}, value: reading }] : (reading ?? []);
    // A counter that was set to nothing is counted up to what it is; a gauge is likewise.
    for (const { labels, value } of samples) metric.inc(labels, value);
  }
}
