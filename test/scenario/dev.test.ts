import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { type Ended, endOf, MAIN, mayfly, nobodyRuns, plainEnvironment, sentence } from '../support/daemon.ts';
import { entry } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { codeBlocks, readDocument } from '../unit/docs/documents.ts';

// Whoever starts it for the first time has no compiled code, and the machine may be busy.
const FIRST_START_MS = 45_000;

/** A user who has no name on any machine. */
const NAMELESS = 54_321;

const folders: string[] = [];
const running: Quickstart[] = [];

afterEach(async () => {
  for (const quickstart of running.splice(0)) await quickstart.stop('SIGKILL');
});

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-dev-'));
  folders.push(folder);
  return folder;
}

/** `mayfly dev` in a folder, as a newcomer sees it. */
class Quickstart {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #ended: Promise<Ended>;
  #said = '';

  constructor(folder: string, uid?: number) {
    this.#child = spawn(process.execPath, [MAIN, 'dev'], {
      cwd: folder,
      env: { ...plainEnvironment(), XDG_RUNTIME_DIR: newFolder() },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(uid !== undefined && { uid, gid: uid }),
    });
    this.pid = this.#child.pid ?? 0;
    this.#child.stdout?.on('data', (text: Buffer) => {
      this.#said += text.toString();
    });
    this.#ended = endOf(this.#child);
    running.push(this);
  }

  /** The line to export, split. */
  async exported(): Promise<{ SPIFFE_ENDPOINT_SOCKET: string }> {
    const greeted = () => (this.#said.includes('Ctrl-C') ? this.#said : undefined);
    const greeting = await eventually('the greeting', greeted, FIRST_START_MS);
    const address = /^ +export SPIFFE_ENDPOINT_SOCKET=(unix:\/\/\/\S+)$/m.exec(greeting)?.[1];
    if (address === undefined) throw new Error(`no line to export in ${greeting}`);
    return { SPIFFE_ENDPOINT_SOCKET: address };
  }

  stop(signal: NodeJS.Signals = 'SIGINT'): Promise<Ended> {
    this.#child.kill(signal);
    return this.#ended;
  }
}

interface Fetched {
  readonly svids: readonly { readonly spiffe_id: string }[];
}

function idsIn({ stdout, stderr }: Ended): string[] {
  if (stdout === '') throw new Error(stderr);
  return (JSON.parse(stdout) as Fetched).svids.map(({ spiffe_id: id }) => id);
}

const ownId = `spiffe://example.org/user/${userInfo().username}`;

/** What the README says that the first terminal shows, of an agent in `folder`. */
function shownInReadme(folder: string): string {
  const command = '$ npm start\n';
  const shown = codeBlocks(readDocument('README.md'), 'console').find((block) => block.startsWith(command)) ?? '';
  return shown.slice(command.length).replaceAll('/home/ada/mayfly', folder);
}

function timeless(text: string): string {
  return text.replaceAll(/^\d\d:\d\d:\d\d/gm, 'now').trim();
}

describe('a newcomer who runs mayfly dev', { timeout: 2 * FIRST_START_MS }, () => {
  test('is told what to export, and it works anywhere', async () => {
    const folder = newFolder();
    const quickstart = new Quickstart(folder);
    const env = await quickstart.exported();
    expect(env.SPIFFE_ENDPOINT_SOCKET).toBe(`unix://${folder}/.mayfly/api.sock`);
    expect(idsIn(await mayfly(['fetch', 'x509', '--json'], { cwd: newFolder(), env }))).toEqual([ownId]);

    // In the same folder nothing has to be exported.
    const here = await mayfly(['fetch', 'x509', '--json'], { cwd: folder });
    expect(idsIn(here)).toEqual([ownId]);
    expect(here.code).toBe(0);
    const status = await mayfly(['status', '--json'], { cwd: folder });
    expect(JSON.parse(status.stdout)).toMatchObject({ pid: quickstart.pid, serving: true, warnings: [] });
    expect(statSync(join(folder, '.mayfly/data')).mode & 0o777).toBe(0o700);

    const { code, stderr, stdout } = await quickstart.stop();
    expect(code).toBe(0);
    const [atStart = ''] = /^.*?\/api\.sock\n/s.exec(stderr) ?? [];
    expect(timeless(atStart + stdout)).toBe(timeless(shownInReadme(folder)));
    expect(stderr).not.toMatch(/^\{|warn|error/m);
    const afterwards = await mayfly(['fetch', 'x509'], { cwd: folder });
    expect(afterwards.code).toBe(1);
    expect(sentence(afterwards.stderr)).toMatch(/^no agent is running at \S+\/api\.sock .*: start it with 'npm start'/);
  });

  test('is told who holds the folder when it runs already', async () => {
    const folder = newFolder();
    const quickstart = new Quickstart(folder);
    await quickstart.exported();
    const endpoint = readFileSync(join(folder, '.mayfly/endpoint.json'), 'utf8');
    const second = await mayfly(['dev'], { cwd: folder });
    expect(second.code).toBe(1);
    expect(second.stdout).toBe('');
    expect(sentence(second.stderr)).toContain(`in use by the agent with process id ${quickstart.pid}; stop it`);
    expect(readFileSync(join(folder, '.mayfly/endpoint.json'), 'utf8')).toBe(endpoint);
    expect(idsIn(await mayfly(['fetch', 'x509', '--json'], { cwd: folder }))).toEqual([ownId]);
  });

  test('gets a short socket path in a folder that is too deep for one', async () => {
    const folder = join(newFolder(), 'deep'.repeat(12), 'deeper'.repeat(12));
    mkdirSync(folder, { recursive: true });
    const quickstart = new Quickstart(folder);
    const env = await quickstart.exported();
    expect(Buffer.byteLength(env.SPIFFE_ENDPOINT_SOCKET)).toBeLessThan(107 + 'unix://'.length);
    expect(env.SPIFFE_ENDPOINT_SOCKET).not.toContain('deep');
    expect(idsIn(await mayfly(['fetch', 'x509', '--json'], { env }))).toEqual([ownId]);
    expect(idsIn(await mayfly(['fetch', 'x509', '--json'], { cwd: folder }))).toEqual([ownId]);
    expect((await mayfly(['status', '--json'], { cwd: folder })).code).toBe(0);
    expect((await quickstart.stop()).code).toBe(0);
  });

  test('is told to go elsewhere where nothing can be written', async () => {
    const { code, stdout, stderr } = await mayfly(['dev'], { cwd: '/proc' });
    expect(sentence(stderr)).toMatch(
      /^\/proc\/\.mayfly cannot be made, start it in a folder that you may write to: ENOENT/,
    );
    expect(stdout).toBe('');
    expect(code).toBe(1);
  });

  test('finds files that were edited as they were', async () => {
    const folder = newFolder();
    const files = {
      'entries/user.yaml': entry('edited', [`unix:uid:${process.getuid?.()}`]),
      'mayfly.yaml': 'trust_domain: edited.org\ndata_dir: keys\nentries: [ entries/*.yaml ]\n',
    };
    files['entries/user.yaml'] = files['entries/user.yaml'].replace('example.org', 'edited.org');
    mkdirSync(join(folder, '.mayfly/entries'), { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, '.mayfly', name), text);
    const quickstart = new Quickstart(folder);
    await quickstart.exported();
    expect(idsIn(await mayfly(['fetch', 'x509', '--json'], { cwd: folder }))).toEqual(['spiffe://edited.org/edited']);
    for (const [name, text] of Object.entries(files)) {
      expect(readFileSync(join(folder, '.mayfly', name), 'utf8')).toBe(text);
    }
  });

  test.skipIf(!nobodyRuns())(
    'without a name gets an identity by number (needs root, and a clone that others may read)',
    async () => {
      const folder = newFolder();
      chownSync(folder, NAMELESS, NAMELESS);
      const quickstart = new Quickstart(folder, NAMELESS);
      await quickstart.exported();
      const fetched = await mayfly(['fetch', 'x509', '--json'], { cwd: folder, uid: NAMELESS });
      expect(idsIn(fetched)).toEqual([`spiffe://example.org/user/uid-${NAMELESS}`]);
      expect((await quickstart.stop()).code).toBe(0);
    },
  );
});
