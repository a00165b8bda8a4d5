import type { Contexts } from './attest/contexts.ts';
import type { Config } from './config/config.ts';
import { isLocal, parseListenAddress } from './config/listen-address.ts';
import type { Clock } from './kernel/clock.ts';
import type { Log } from './kernel/log.ts';
import type { Measurements } from './serve/metrics/measurements.ts';
import type { Monitor, Page } from './serve/metrics/monitor.ts';
import type { MetricSources } from './serve/metrics/scrape.ts';
import type { Seen } from './status.ts';
import { healthOf, obstacles } from './status.ts';

/** What is watched of an agent. */
export interface Watched {
  readonly seen: () => Seen;
  readonly contexts: Contexts;
  /** Aborts when it begins to stop. */
  readonly stopping: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
}

/** Metrics and probes over HTTP. */
export interface Monitoring {
  /** To be told of what happens. */
  readonly measurements: Measurements;
  /** What somebody has allowed and should know of: a sentence each. */
  readonly warnings: readonly string[];
  /** Listens from now on. @throws MayflyError as `Monitor.open` does */
  serve(watched: Watched): Promise<Monitor>;
}

/** What the configuration wants of it; `undefined` when that is nothing. What it is made of is loaded only when it is wanted. */
export async function monitoringOf({ metrics: { listen, mode } }: Config): Promise<Monitoring | undefined> {
  const address = parseListenAddress(listen);
  if (typeof address === 'string') throw new Error(`metrics.listen was not checked: ${listen} ${address}`);
  if (address.kind === 'off') return undefined;
  const [{ Exposition }, { readFigures }, { Monitor }] = await Promise.all([
    import('./serve/metrics/exposition.ts'),
    import('./serve/metrics/figures.ts'),
    import('./serve/metrics/monitor.ts'),
  ]);
  const exposition = new Exposition();
  const { entryLabels, measurements } = exposition;
  return {
    measurements,
    warnings: isLocal(address)
      ? []
      : [
          `metrics are read without a password by whoever reaches ${listen}; see that none but your Prometheus and probes do`,
        ],
    serve: (watched) =>
      Monitor.open({
        address,
        mode,
        log: watched.log,
        pages: new Map<string, () => Page | Promise<Page>>([
          ['/metrics', () => exposition.page(() => readFigures(() => sourcesOf(watched), entryLabels))],
          // That it is answered at all is what it tells: an agent that cannot serve now is not helped by being started anew.
          ['/healthz', () => ({ status: 200, body: 'ok\n' })],
          ['/readyz', () => readiness(obstaclesOf(watched))],
        ]),
        answered: (path, status) => measurements.answered(path, status),
      }),
  };
}

function sourcesOf(watched: Watched): MetricSources {
  const seen = watched.seen();
  const { clock, contexts } = watched;
  return { ...seen, contexts, health: healthOf(seen), ready: obstaclesOf(watched).length === 0, now: clock.now() };
}

function obstaclesOf({ seen, stopping }: Watched): readonly string[] {
  return [...obstacles(seen()), ...(stopping.aborted ? ['the agent is stopping'] : [])];
}

function readiness(obstacles: readonly string[]): Page {
  if (obstacles.length === 0) return { status: 200, body: 'ready\n' };
  return { status: 503, body: `not ready:\n${obstacles.map((each) => `${each}\n`).join('')}` };
}
