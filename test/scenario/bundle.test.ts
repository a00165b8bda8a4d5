import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { clientCommands } from '../../agent/cli/commands.ts';
import { ServerReflection } from '../../agent/gen/reflection_v1_pb.js';
import { bundle } from '../../deploy/release/bundle.ts';
import { installedNative } from '../../deploy/release/native.ts';
import { Daemon, type Ended, endOf, leasesGone, plainEnvironment } from '../support/daemon.ts';
import { GrpcCaller } from '../support/grpc-caller.ts';
import { Home } from '../support/home.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const ORIGIN = { version: '1.2.3', commit: 'c'.repeat(40), date: '2026-01-02T03:04:05.000Z' };

let home: Home;
let folder: string;
let code: string;
let program: readonly [string, ...string[]];

beforeAll(async () => {
  home = new Home();
  // Far from the clone: whatever was left out is not found.
  folder = mkdtempSync(join(tmpdir(), 'mayfly-bundle-'));
  ({ code } = await bundle(ROOT, ORIGIN));
  writeFileSync(join(folder, 'mayfly.mjs'), code);
  copyFileSync(installedNative(ROOT), join(folder, 'koffi.node'));
  program = [process.execPath, '--max-semi-space-size=2', join(folder, 'mayfly.mjs')];
});

afterAll(() => {
  home.remove();
  rmSync(folder, { recursive: true });
});

function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const [command, ...first] = program;
  const stdio = ['ignore', 'pipe', 'pipe'] as const;
  return endOf(
    spawn(command, [...first, ...args], { cwd: folder, env: { ...plainEnvironment(), ...env }, stdio: [...stdio] }),
  );
}

test('it says what it was made from', async () => {
  const { stdout, code } = await run(['version', '--json']);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({
    ...ORIGIN,
    form: 'bundle',
    node: process.version,
    platform: `linux-${process.arch}`,
  });
});

test('it has nothing that costs each start its time', () => {
  // An import of a module of Node's evaluates all that it exports.
  expect(code).not.toMatch(/\bimport\b[^;]{0,2000}?\bfrom\s?["'`]/);
  expect(code).not.toContain('protobufjs');
});

test('every command is in it', async () => {
  const names = ['dev', 'run', ...clientCommands.map(({ name }) => name)];
  const shown = await Promise.all(names.map((name) => run([name, '--help'])));
  for (const [index, name] of names.entries()) {
    expect(shown[index]).toMatchObject({ code: 0, stderr: '' });
    expect(shown[index]?.stdout).toMatch(new RegExp(`^Usage: mayfly ${name}\\b`));
  }
});

test('it serves an identity, ends it with its process, describes itself, and stops in order', async () => {
  await using daemon = await Daemon.start(home, { program });
  {
    await using workload = new WorkloadClient(home.socket);
    expect((await workload.x509()).ids).toEqual(['spiffe://example.org/own']);
    expect(await daemon.leases()).toHaveLength(1);
    workload.kill();
  }
  // The thread that waits for exits is a program of its own in the same file.
  await leasesGone(daemon);
  const caller = new GrpcCaller(home.socket);
  const reflection = caller.duplex(ServerReflection.method.serverReflectionInfo);
  reflection.send({ messageRequest: { case: 'fileContainingSymbol', value: 'X509SVIDResponse' } });
  reflection.end();
  expect((await reflection.ended).code).toBe('OK');
  expect(reflection.received[0]?.messageResponse.case).toBe('fileDescriptorResponse');
  caller.close();
  expect((await daemon.status()).version).toBe(ORIGIN.version);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(daemon.log.plain).toEqual([]);
});

test('what it starts is not told where its own library is', async () => {
  await using daemon = await Daemon.start(home, { program });
  const env = join(folder, 'env');
  mkdirSync(env);
  const own = join(folder, 'lib');
  const hold = async (name: string, path: string) => {
    const [command, ...first] = program;
    const exec = `printf '%s' "\${LD_LIBRARY_PATH-unset}" > ${join(env, name)}; kill $PPID`;
    const args = ['watch', '--socket', daemon.home.socket, '--exec', exec];
    await endOf(spawn(command, [...first, ...args], { env: { ...plainEnvironment(), LD_LIBRARY_PATH: path } }));
    return readFileSync(join(env, name), 'utf8');
  };
  expect(await hold('alone', own)).toBe('unset');
  expect(await hold('beside', `/opt/others:${own}`)).toBe('/opt/others');
});
