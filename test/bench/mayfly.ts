import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentUnderTest } from './agent-under-test.ts';
import { startUntil, stopProcess } from './agent-under-test.ts';
import { LoadClient } from './load-client.ts';

const ROOT = new URL('../../', import.meta.url).pathname;

export interface Mayfly extends AgentUnderTest {
  /** Changes what is in the certificate of the one entry: a new one is signed, and everybody told. Returns as `changeEntry`. */
  changeCertificate(round: number): number;
}

/**
 * Starts this project's agent in a folder of its own.
 *
 * @param load the load client's binary
 */
export async function startMayfly(load: string): Promise<Mayfly> {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-bench-'));
  const socket = join(folder, 'api.sock');
  const entry = join(folder, 'entries', 'bench.yaml');
  mkdirSync(join(folder, 'entries'));
  writeFileSync(join(folder, 'mayfly.yaml'), config());
  writeFileSync(entry, entries('hint: round-0'));
  const args = ['--max-semi-space-size=2', join(ROOT, 'agent/bin.js'), 'run', '--config', join(folder, 'mayfly.yaml')];
  const { child, startMs } = await startUntil(() => new LoadClient(load, socket).serves(), process.execPath, args);
  const change = (terms: string) => {
    const at = Date.now();
    writeFileSync(entry, entries(terms));
    return at;
  };
  return {
    name: 'mayfly',
    socket,
    pid: child.pid ?? 0,
    startMs,
    changeEntry: (round) => change(`hint: round-${round}`),
    changeCertificate: (round) => change(`dns_names: [ round-${round}.internal ]`),
    async stop() {
      await stopProcess(child);
      rmSync(folder, { recursive: true });
    },
  };
}

/** Removes what earlier starts have left compiled, so that the next one is as after a fresh clone. */
export function forgetCompiledCode(): void {
  rmSync(join(ROOT, 'node_modules/.cache/mayfly'), { recursive: true, force: true });
}

function config(): string {
  return `trust_domain: example.org
socket: api.sock
admin_socket: admin.sock
data_dir: data
log_level: warn
peer: { max_connections: 20000, max_connections_per_uid: 20000 }
`;
}

function entries(terms: string): string {
  return `entries:
  - id: bench
    spiffe_id: spiffe://example.org/bench
    selectors: [ "unix:uid:${process.getuid?.()}" ]
    ${terms}
`;
}
