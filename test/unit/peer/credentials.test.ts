import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync } from 'node:fs';
import { createServer, type Server, Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type PeerCredentials,
  type Proof,
  readCredentials,
  strongestProof,
  type Unidentified,
} from '../../../agent/peer/credentials.ts';
import { hasExited } from '../../../agent/peer/system/pidfd.ts';
import { descriptors, isRoot, Processes } from '../../support/processes.ts';

const UNSHARE = '/usr/bin/unshare';
const processes = new Processes();
afterAll(() => processes.clean());
const child = new URL('../../support/peer-child.ts', import.meta.url);
const strongest = strongestProof(false);
const proofs: Proof[] = strongest === 'pidfd' ? ['pidfd', 'start-time'] : ['start-time'];

test('the strongest proof that the kernel has is found, and leaves no descriptor behind', () => {
  const before = descriptors(/pidfd|socket/);
  expect(['pidfd', 'start-time']).toContain(strongestProof(false));
  expect(descriptors(/pidfd|socket/)).toBe(before);
});

test.skipIf(strongest === 'pidfd')(
  'a kernel without SO_PEERPIDFD is refused where it is required (needs Linux < 6.5)',
  () => {
    expect(() => strongestProof(true)).toThrowError(expect.objectContaining({ code: 'KERNEL_UNSUPPORTED' }));
  },
);

describe.each(proofs)('credentials by %s', (proof) => {
  const path = join(processes.directory(), 's');
  let server: Server;
  let accepted: Socket[];
  beforeEach(async () => {
    accepted = [];
    server = createServer({ pauseOnConnect: true });
    await new Promise<void>((resolve) => server.listen(path, resolve));
  });
  afterEach(() => {
    for (const socket of accepted) socket.destroy();
    server.close();
    expect(descriptors(/pidfd/)).toBe(0);
  });

  const accept = () =>
    new Promise<PeerCredentials | Unidentified>((resolve) => {
      server.once('connection', (socket) => {
        accepted.push(socket);
        resolve(readCredentials(socket, proof));
      });
    });

  test('are those of the process that connected', async () => {
    const peer = await processes.script(child);
    const credentials = accept();
    expect(await peer.tell(`connect ${path}`)).toBe('connected');
    const read = (await credentials) as PeerCredentials;
    expect(read).toMatchObject({ pid: peer.pid, uid: process.geteuid?.(), gid: process.getegid?.(), proof });
    expect(hasExited(read.pidfd)).toBe(false);
    closeSync(read.pidfd);
  });

  test.skipIf(!isRoot)('are those of another user (needs root)', async () => {
    const peer = await processes.script(child);
    expect(await peer.tell('setuid 65534')).toBe('changed');
    chmodSync(dirname(path), 0o755);
    chmodSync(path, 0o777);
    const credentials = accept();
    expect(await peer.tell(`connect ${path}`)).toBe('connected');
    const read = (await credentials) as PeerCredentials;
    expect(read).toMatchObject({ pid: peer.pid, uid: 65534, gid: 65534 });
    closeSync(read.pidfd);
  });

  test('are refused when the opener is dead and reaped, though another process holds its connection', async () => {
    const credentials = accept();
    // The test's own loop stands still meanwhile, so that the connection is accepted only afterwards.
    const opener = spawnSync(process.execPath, ['--no-warnings', child.pathname, path], {
      encoding: 'utf8',
      timeout: 10_000,
    });
    const heir = Number(opener.stdout.trim());
    try {
      expect(await credentials).toEqual({
        kind: 'unidentified',
        reason: 'exited',
        detail: expect.stringMatching(/^(process \d+, which|the process that) opened the connection,? has exited$/),
      });
      expect(heir).toBeGreaterThan(0);
      // The heir lives: the connection is open.
      expect(process.kill(heir, 0)).toBe(true);
    } finally {
      process.kill(heir, 'SIGKILL');
    }
  });

  test('are refused on a connection that is closed already', async () => {
    const peer = await processes.script(child);
    const refused = new Promise<PeerCredentials | Unidentified>((resolve) => {
      server.once('connection', (socket) => {
        socket.destroy();
        resolve(readCredentials(socket, proof));
      });
    });
    await peer.tell(`connect ${path}`);
    expect(await refused).toMatchObject({ kind: 'unidentified', reason: 'no-descriptor' });
  });

  test('are refused on what is no socket with a peer', () => {
    expect(readCredentials(new Socket(), proof)).toMatchObject({ kind: 'unidentified', reason: 'no-descriptor' });
  });

  const unshare = spawnSync(UNSHARE, ['--pid', '--fork', '/bin/true']).status === 0;
  test.skipIf(!isRoot || !unshare)(
    'are refused to a caller outside of the agent’s pid namespace (needs root and unshare)',
    async () => {
      const agent = new URL('../../support/credentials-agent.ts', import.meta.url);
      const inner = join(processes.directory(), 's');
      const outer = await processes.run(UNSHARE, [
        '--pid',
        '--fork',
        process.execPath,
        '--no-warnings',
        agent.pathname,
        inner,
        proof,
      ]);
      expect(await outer.line()).toBe('listening');
      const peer = await processes.script(child);
      expect(await peer.tell(`connect ${inner}`)).toBe('connected');
      expect(JSON.parse(await outer.line())).toEqual({
        kind: 'unidentified',
        reason: 'other-pid-namespace',
        detail: 'the caller has no pid here: run the agent in the pid namespace of the host',
      });
      outer.process.stdin?.end();
      await outer.exited;
    },
  );

  const userns = spawnSync(UNSHARE, ['--user', '--map-root-user', '/bin/true']).status === 0;
  test.skipIf(!isRoot || !userns)(
    'are refused to a caller without a number in the agent’s user namespace, where all such are one (needs root and unshare)',
    async () => {
      const agent = new URL('../../support/credentials-agent.ts', import.meta.url);
      const inner = join(processes.directory(), 's');
      chmodSync(dirname(inner), 0o755);
      const args = ['--user', '--map-root-user', process.execPath, '--no-warnings', agent.pathname, inner, proof];
      const outer = await processes.run(UNSHARE, args);
      expect(await outer.line()).toBe('listening');
      chmodSync(inner, 0o777);
      const peer = await processes.script(child);
      expect(await peer.tell(`connect ${inner}`)).toBe('connected');
      expect(JSON.parse(await outer.line())).toMatchObject({ pid: peer.pid, uid: 0, gid: 0 });
      expect(await peer.tell('setuid 41001')).toBe('changed');
      expect(await peer.tell(`connect ${inner}`)).toBe('connected');
      expect(JSON.parse(await outer.line())).toEqual({
        kind: 'unidentified',
        reason: 'other-user-namespace',
        detail: 'the caller has no user or no group here: run the agent in the user namespace of the host',
      });
      outer.process.stdin?.end();
      await outer.exited;
    },
  );
});
