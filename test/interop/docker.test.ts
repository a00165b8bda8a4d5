import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { Agent, entry } from './agent.ts';
import { Client } from './client.ts';
import { containerRootfs } from './container-rootfs.ts';
import { DockerEngine } from './docker-engine.ts';
import { commandOf, equipped, ROOT } from './equipment.ts';

const { docker, go } = inject('equipment');
const IMAGE = 'mayfly.test/client:1';

equipped('containers of Docker Engine', [docker, go, ROOT], () => {
  let agent: Agent;
  let directory: string;
  let engine: DockerEngine;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'mayfly-containers-'));
    const [client] = commandOf(go);
    engine = await DockerEngine.start();
    await engine.image(IMAGE, await containerRootfs(directory, { client }));
    agent = await Agent.start([entry('root')]);
  });
  afterAll(async () => {
    await agent[Symbol.asyncDispose]();
    await engine[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  /** A client in a container, which does what a test asks. */
  function contained(options: readonly string[]): Client {
    const socket = ['--volume', `${dirname(agent.socket)}:/run/mayfly`];
    const env = ['--env', 'SPIFFE_ENDPOINT_SOCKET=unix:///run/mayfly/api.sock'];
    const args = [
      'run',
      '--rm',
      '--interactive',
      '--network',
      'none',
      ...socket,
      ...env,
      ...options,
      IMAGE,
      '/bin/client',
    ];
    return Client.start({ kind: 'ready', command: engine.command(args) }, agent.socket);
  }

  it('are served through the socket that is mounted into them', async () => {
    await using client = contained([]);
    expect((await client.ask('fetch')).id).toBe('spiffe://example.org/root');
  });
});
