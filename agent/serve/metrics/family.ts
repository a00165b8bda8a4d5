import type { Scrape } from './scrape.ts';

/** A metric as it is declared: the metrics of one name. */
export interface Family {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  /** Of a histogram. */
  readonly buckets: readonly number[];
}

/** One metric of a family that has labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What is read of a family: a number of one without labels; nothing where there is nothing to tell. */
export type Reading = number | readonly Sample[] | undefined;

/** Families that are read together at each scrape, of what the agent knows anyway. */
export interface Group {
  readonly title: string;
  readonly families: Readonly<Record<string, Family>>;
  readonly read: (scrape: Scrape) => Readonly<Record<string, Reading>>;
}

/** A group with a reading for each of its families. */
export function group<const Name extends string>(
  title: string,
  families: Readonly<Record<Name, Family>>,
  read: (scrape: Scrape) => Readonly<Record<Name, Reading>>,
): Group {
  return { title, families, read };
}

/** What goes up and down. */
export function gauge(help: string, ...labels: readonly string[]): Family {
  return { type: 'gauge', help, labels, buckets: [] };
}

/** What only grows, from the start of the agent unless it says otherwise. Its name ends in `_total`. */
export function counter(help: string, ...labels: readonly string[]): Family {
  return { type: 'counter', help, labels, buckets: [] };
}

/** How what was observed is spread. @param buckets upper bounds, ascending */
export function histogram(help: string, buckets: readonly number[], ...labels: readonly string[]): Family {
  return { type: 'histogram', help, labels, buckets };
}

/** A sample for each of `counts`, by its key. */
export function samplesBy(label: string, counts: Iterable<readonly [string, number]>): readonly Sample[] {
  return Array.from(counts, ([name, value]) => ({ labels: { [label]: name }, value }));
}

/** How many there are of each name, and of each of `names` none at least: as {@link samplesBy} takes it. */
export function countedBy<T>(
  items: Iterable<T>,
  nameOf: (item: T) => string,
  names: readonly string[],
): ReadonlyMap<string, number> {
  const counts = new Map(names.map((name) => [name, 0]));
  for (const item of items) {
    const name = nameOf(item);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

/** 1 or 0, as Prometheus writes what holds or does not. */
export function truth(holds: boolean): number {
  return holds ? 1 : 0;
}

/** Milliseconds as Prometheus wants all times: in seconds. */
export function seconds(ms: number): number {
  return ms / 1000;
}
