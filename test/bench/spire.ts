import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentUnderTest } from './agent-under-test.ts';
import { startUntil, stopProcess, takesConnections } from './agent-under-test.ts';
import { LoadClient } from './load-client.ts';

const ID = 'spiffe://example.org/bench';
const PORT = '18181';

/**
 * Starts a SPIRE server and an agent that has joined it.
 *
 * @param binaries the folder with `spire-server` and `spire-agent`
 * @param load the load client's binary
 */
export async function startSpire(binaries: string, load: string): Promise<AgentUnderTest> {
  const folder = mkdtempSync(join(tmpdir(), 'spire-bench-'));
  const file = (name: string) => join(folder, name);
  const server = (...args: string[]) => {
    const [command = '', verb = '', ...rest] = args;
    return execFileSync(join(binaries, 'spire-server'), [command, verb, '-socketPath', file('server.sock'), ...rest], {
      encoding: 'utf8',
    });
  };
  for (const name of ['server', 'agent']) mkdirSync(file(name), { mode: 0o700 });
  writeFileSync(file('server.conf'), serverConfig(folder));
  writeFileSync(file('agent.conf'), agentConfig(folder));
  const serverRun = await startUntil(() => takesConnections(file('server.sock')), join(binaries, 'spire-server'), [
    'run',
    '-config',
    file('server.conf'),
  ]);
  await until(() => server('bundle', 'show').includes('BEGIN'));
  writeFileSync(file('bootstrap.pem'), server('bundle', 'show'));
  const token =
    /^Token: (\S+)$/m.exec(server('token', 'generate', '-spiffeID', 'spiffe://example.org/agent'))?.[1] ?? '';
  const created = server(
    'entry',
    'create',
    '-parentID',
    'spiffe://example.org/agent',
    '-spiffeID',
    ID,
    '-selector',
    `unix:uid:${process.getuid?.()}`,
  );
  const entry = /Entry ID\s*: (\S+)/.exec(created)?.[1] ?? '';
  const agentRun = await startUntil(
    () => new LoadClient(load, file('agent.sock')).serves(),
    join(binaries, 'spire-agent'),
    ['run', '-config', file('agent.conf'), '-joinToken', token],
  );
  return {
    name: 'spire-agent',
    socket: file('agent.sock'),
    pid: agentRun.child.pid ?? 0,
    startMs: agentRun.startMs,
    changeEntry(round) {
      const at = Date.now();
      server(
        'entry',
        'update',
        '-entryID',
        entry,
        '-parentID',
        'spiffe://example.org/agent',
        '-spiffeID',
        ID,
        '-selector',
        `unix:uid:${process.getuid?.()}`,
        '-hint',
        `round-${round}`,
      );
      return at;
    },
    async stop() {
      await stopProcess(agentRun.child);
      await stopProcess(serverRun.child);
      rmSync(folder, { recursive: true });
    },
  };
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      if (holds()) return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}

function serverConfig(folder: string): string {
  return `server {
  bind_address = "127.0.0.1"
  bind_port = "${PORT}"
  trust_domain = "example.org"
  data_dir = "${folder}/server"
  socket_path = "${folder}/server.sock"
  log_level = "WARN"
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "${folder}/server/db.sqlite3" } }
  KeyManager "disk" { plugin_data { keys_path = "${folder}/server/keys.json" } }
  NodeAttestor "join_token" { plugin_data {} }
}
`;
}

function agentConfig(folder: string): string {
  return `agent {
  server_address = "127.0.0.1"
  server_port = "${PORT}"
  trust_domain = "example.org"
  data_dir = "${folder}/agent"
  socket_path = "${folder}/agent.sock"
  trust_bundle_path = "${folder}/bootstrap.pem"
  log_level = "WARN"
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { directory = "${folder}/agent" } }
  WorkloadAttestor "unix" { plugin_data {} }
}
`;
}
