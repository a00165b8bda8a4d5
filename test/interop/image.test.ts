import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { IMAGE_USER } from '../../deploy/release/image.ts';
import { originOf } from '../../deploy/release/origin.ts';
import { type Ended, endOf } from '../support/daemon.ts';
import { entry, Home } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { DockerEngine } from './docker-engine.ts';
import { ROOT as AS_ROOT, equipped } from './equipment.ts';
import { buildImage, ROOT, rebuildImage } from './mayfly-release.ts';
import { tool } from './toolchains.ts';

const { docker } = inject('equipment');
const IMAGE = 'mayfly:test';
// With a release for it, the first time with what is downloaded.
const IMAGE_MS = 240_000;
const CLIENT = 1001;
const OTHER = 1002;

interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly privilege?: string;
}

interface Lease {
  readonly spiffe_id: string;
}

/** Of a line of `tar -tv`. */
const pathOf = (line: string) => line.slice(line.lastIndexOf(' ') + 1);

equipped('the image', [docker, AS_ROOT], () => {
  let directory: string;
  let engine: DockerEngine;
  let home: Home;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'mayfly-image-'));
    home = new Home({ 'client.yaml': entry('client', [`unix:uid:${CLIENT}`]) });
    home.write('mayfly.yaml', 'trust_domain: example.org\n');
    engine = await DockerEngine.start();
    await buildImage(engine, IMAGE, join(directory, 'context'));
  }, IMAGE_MS);
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
    home.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  const inspected = async (format: string, name = IMAGE) =>
    JSON.parse(await engine.docker(['inspect', '--format', `{{json ${format}}}`, name])) as unknown;

  /** Runs the program in a container to its end, with no privilege at all. */
  const run = (options: readonly string[], args: readonly string[], image = IMAGE): Promise<Ended> => {
    const all = ['run', '--rm', '--network', 'none', '--cap-drop', 'ALL', ...options, image, ...args];
    const [program, ...rest] = engine.command(all);
    return endOf(spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] }));
  };

  /** Starts an agent in a container, and waits until it serves. @returns its id */
  async function served(options: readonly string[]): Promise<string> {
    const least = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--pid', 'host'];
    const id = await engine.run([...least, '--volume', `${home.folder}:/etc/mayfly:ro`, ...options, IMAGE]);
    await eventually('the agent serves', async () => {
      if ((await inspected('.State.Running', id)) !== true) throw new Error(JSON.stringify(await logOf(id)));
      return (await logOf(id)).find(({ event }) => event === 'agent.started');
    });
    return id;
  }

  async function logOf(id: string): Promise<readonly LogLine[]> {
    const { stderr } = await endOf(
      spawn('docker', engine.command(['logs', id]).slice(1), { stdio: ['ignore', 'ignore', 'pipe'] }),
    );
    return stderr
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as LogLine);
  }

  const leasesOf = async (id: string) => {
    const { leases } = JSON.parse(await engine.docker(['exec', id, 'mayfly', 'leases', '--json'])) as {
      leases: readonly Lease[];
    };
    return leases;
  };

  /** Stops an agent, which has to end in order. */
  async function stop(id: string): Promise<void> {
    await engine.docker(['stop', id]);
    expect(await inspected('.State.ExitCode', id)).toBe(0);
    expect((await logOf(id)).at(-1)).toMatchObject({ event: 'agent.stopped' });
  }

  it('says what it was made from', async () => {
    const { version, commit, date } = originOf(ROOT);
    const { stdout, stderr, code } = await run([], ['version', '--json']);
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
    expect(JSON.parse(stdout)).toMatchObject({ version, commit, date, form: 'bundle' });
  });

  it('has the same layers when it is built again', async () => {
    const layers = await inspected('.RootFS.Layers');
    await rebuildImage(engine, 'mayfly:again', join(directory, 'context'));
    expect(layers).toHaveLength(2);
    expect(await inspected('.RootFS.Layers', 'mayfly:again')).toEqual(layers);
  });

  it('has no shell and nothing else to run, is no root, and has lists of all that is in it', async () => {
    expect(await inspected('.Config.User')).toBe(`${IMAGE_USER}:${IMAGE_USER}`);
    const id = await engine.docker(['create', IMAGE]);
    const archive = join(directory, 'image.tar');
    await engine.docker(['export', '--output', archive, id]);
    const listed = (await tool('tar', ['-tvf', archive, '--numeric-owner'], '/')).split('\n');
    // The engine makes some that are empty, to mount others over them.
    const programs = listed.filter((line) => /^-\S*x\S* +\S+ +[1-9]/.test(line)).map(pathOf);
    expect(programs.toSorted()).toEqual([
      'opt/mayfly/node',
      'usr/bin/mayfly',
      expect.stringMatching(/^usr\/lib\/[^/]+\/ld-linux-[^/]+$/),
    ]);
    expect(listed.filter((line) => /^\S*[sS]/.test(line))).toEqual([]);
    const writable = listed.filter((line) => line.includes(` ${IMAGE_USER}/`)).map(pathOf);
    expect(writable.toSorted()).toEqual(['run/mayfly/', 'var/lib/mayfly/']);
    for (const list of ['opt/mayfly/sbom.cdx.json', 'usr/share/doc/mayfly-base/sbom.cdx.json']) {
      const text = await tool('tar', ['-xOf', archive, list], '/');
      expect(JSON.parse(text)).toMatchObject({ bomFormat: 'CycloneDX' });
    }
  });

  it('can be built on a base that somebody has made of his own libraries', async () => {
    const base = join(directory, 'base');
    // Those that Node names, where the loader looks for them.
    const said = await tool('ldd', [process.execPath], '/');
    const libraries = Array.from(said.matchAll(/ (\/[^ ]+) \(/g), ([, path]) => path ?? '');
    const [loader = ''] = /\/lib\S*\/ld-linux-\S+/.exec(said) ?? [];
    for (const path of [...libraries, loader]) {
      mkdirSync(join(base, dirname(path)), { recursive: true });
      cpSync(realpathSync(path), join(base, path));
    }
    const archive = join(directory, 'base.tar');
    await tool('tar', ['-cf', archive, '-C', base, '.'], '/');
    await engine.image('own/base:1', archive);
    await rebuildImage(engine, 'mayfly:own', join(directory, 'context'), ['--build-arg', 'BASE=own/base:1']);
    expect(await inspected('.RootFS.Layers', 'mayfly:own')).toEqual([
      ...((await inspected('.RootFS.Layers', 'own/base:1')) as string[]),
      expect.stringMatching(/^sha256:/),
    ]);
    expect(await run([], ['version'], 'mayfly:own')).toMatchObject({ code: 0, stderr: '' });
  });

  it('serves a container beside it as its own user, without any capability, and says what that costs', async () => {
    const sockets = ['--volume', 'mayfly-run:/run/mayfly'];
    const id = await served([...sockets, '--volume', 'mayfly-data:/var/lib/mayfly']);
    const { stdout, code } = await run([...sockets, '--user', `${CLIENT}`], ['fetch', 'x509', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ svids: [{ spiffe_id: 'spiffe://example.org/client' }] });
    const refused = await run([...sockets, '--user', `${OTHER}`], ['fetch', 'x509', '--json']);
    expect(refused.code).not.toBe(0);
    expect(JSON.parse(refused.stderr)).toMatchObject({ error: { code: 'NO_IDENTITY' } });
    const missing = (await logOf(id)).filter(({ event }) => event === 'privilege.missing');
    expect(new Set(missing.map(({ privilege }) => privilege))).toEqual(
      new Set(['CAP_DAC_READ_SEARCH', 'CAP_SYS_PTRACE']),
    );
    await stop(id);
  });

  it('misses nothing as root with the two capabilities that it needs, and ends identities with their container', async () => {
    for (const name of ['run', 'data']) mkdirSync(join(directory, name));
    const sockets = ['--volume', `${join(directory, 'run')}:/run/mayfly`];
    const capabilities = ['--user', '0', '--cap-add', 'SYS_PTRACE', '--cap-add', 'DAC_READ_SEARCH'];
    const id = await served([...capabilities, ...sockets, '--volume', `${join(directory, 'data')}:/var/lib/mayfly`]);
    const client = await engine.run(['--cap-drop', 'ALL', '--user', `${CLIENT}`, ...sockets, IMAGE, 'watch', '--json']);
    const held = await eventually('the container has an identity', async () => (await leasesOf(id))[0]);
    expect(held.spiffe_id).toBe('spiffe://example.org/client');
    await engine.docker(['kill', client]);
    await eventually('the identity has ended', async () => ((await leasesOf(id)).length === 0 ? true : undefined));
    expect((await logOf(id)).filter(({ level }) => level !== 'info')).toEqual([]);
    await stop(id);
  });
});
