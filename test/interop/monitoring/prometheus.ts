import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../support/free-port.ts';
import { eventually } from '../../support/json-lines.ts';
import { MONITORING } from '../../support/monitoring.ts';
import { getPage } from '../../support/scrape.ts';
import { Program } from '../program.ts';

/** What promtool said, and whether it was content. */
export interface Verdict {
  readonly code: number | null;
  readonly output: string;
}

/** Runs promtool. @param input what it reads from stdin */
export function promtool(args: readonly string[], input = ''): Verdict {
  const { status, stderr, stdout } = spawnSync('promtool', args, { encoding: 'utf8', cwd: MONITORING, input });
  return { code: status, output: `${stdout}${stderr}` };
}

/** A time series as a query returns it. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [at: number, value: string];
}

/** A rule as the server has it. */
export interface LoadedRule {
  readonly name: string;
  readonly state: 'firing' | 'inactive' | 'pending';
  readonly health: string;
}

/** A server that looks at one agent five times a second, with the rules for it. */
export class Prometheus implements AsyncDisposable {
  readonly #directory: string;
  readonly #program: Program;
  readonly #port: number;

  /** @param target where the agent's metrics are: `127.0.0.1:9464` */
  static async start(target: string): Promise<Prometheus> {
    const server = new Prometheus(target, await freePort());
    await eventually('Prometheus is ready', async () => {
      const { status } = await getPage(server.#port, '/-/ready').catch(() => ({ status: 0 }));
      return status === 200 ? true : undefined;
    });
    return server;
  }

  private constructor(target: string, port: number) {
    this.#directory = mkdtempSync(join(tmpdir(), 'mayfly-prometheus-'));
    this.#port = port;
    const config = join(this.#directory, 'prometheus.yml');
    // JSON is YAML.
    writeFileSync(
      config,
      JSON.stringify({
        global: { scrape_interval: '200ms', evaluation_interval: '200ms' },
        rule_files: [join(MONITORING, 'alerts.yaml')],
        scrape_configs: [{ job_name: 'mayfly', static_configs: [{ targets: [target] }] }],
      }),
    );
    this.#program = new Program([
      'prometheus',
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(this.#directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=warn',
    ]);
  }

  /** @throws what it finds wrong with the query */
  async query(expr: string): Promise<readonly Series[]> {
    return (await this.#get<{ result: readonly Series[] }>(`/api/v1/query?query=${encodeURIComponent(expr)}`)).result;
  }

  async rules(): Promise<readonly LoadedRule[]> {
    const { groups } = await this.#get<{ groups: readonly { rules: readonly LoadedRule[] }[] }>('/api/v1/rules');
    return groups.flatMap(({ rules }) => rules);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #get<T>(path: string): Promise<T> {
    const { body } = await getPage(this.#port, path);
    const answer = JSON.parse(body) as { status: string; error?: string; data: T };
    if (answer.status !== 'success') throw new Error(`${answer.error ?? body}, asked with ${decodeURIComponent(path)}`);
    return answer.data;
  }
}
