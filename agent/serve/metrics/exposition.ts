import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import Registry from 'prom-client/lib/registry.js';
import { agentFigures } from './agent-figures.ts';
import { readDisk } from './disk.ts';
import { EntryLabels } from './entry-labels.ts';
import type { Group, Reading } from './family.ts';
import { leaseFigures } from './lease-figures.ts';
import { ledgerFigures } from './ledger-figures.ts';
import { Measurements } from './measurements.ts';
import type { Page } from './monitor.ts';
import { peerFigures } from './peer-figures.ts';
import { processFigures } from './process-figures.ts';
import { revocationFigures } from './revocation-figures.ts';
import type { MetricSources, Scrape } from './scrape.ts';

/** What is read at each scrape, in the order of the reference. */
export const GROUPS: readonly Group[] = [
  agentFigures,
  peerFigures,
  leaseFigures,
  revocationFigures,
  ledgerFigures,
  processFigures,
];

/** All metrics of an agent: what is measured as it happens, and what is read when somebody asks. */
export class Exposition {
  /** To be told of what happens. */
  readonly measurements: Measurements;
  readonly #entryLabels = new EntryLabels();
  readonly #registry = new Registry();
  readonly #metrics = new Map<string, Counter | Gauge>();
  #underWay: Promise<Page> | undefined;

  constructor() {
    const registers = [this.#registry];
    for (const [name, { help, labels, type }] of GROUPS.flatMap(({ families }) => Object.entries(families))) {
      const parts = { name, help, labelNames: [...labels], registers };
      this.#metrics.set(name, type === 'counter' ? new Counter(parts) : new Gauge(parts));
    }
    this.measurements = new Measurements(this.#registry, this.#entryLabels);
  }

  /** The metrics as Prometheus reads them. Who asks while they are collected gets the same: many cost no more than one. */
  page(sources: () => MetricSources): Promise<Page> {
    this.#underWay ??= this.#collect(sources).finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #collect(sources: () => MetricSources): Promise<Page> {
    const disk = await readDisk(sources().config.value.dataDir);
    const scrape: Scrape = { ...sources(), disk, entryLabels: this.#entryLabels };
    for (const { read } of GROUPS) {
      for (const [name, reading] of Object.entries(read(scrape))) this.#set(name, reading);
    }
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
