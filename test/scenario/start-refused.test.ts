import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  Daemon,
  endOf,
  MAIN,
  mayfly,
  NOBODY,
  nobodyRuns,
  plainEnvironment,
  refusal,
  sentence,
} from '../support/daemon.ts';
import { Home } from '../support/home.ts';
import { isRoot } from '../support/processes.ts';

/** A small disk of one's own. */
const hasNamespaces = isRoot && spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;

const homes: Home[] = [];

function newHome(...args: ConstructorParameters<typeof Home>): Home {
  const home = new Home(...args);
  homes.push(home);
  return home;
}

afterAll(() => {
  for (const home of homes) home.remove();
});

describe('a start is refused with a sentence, and leaves nothing behind', () => {
  test.concurrent('when a key is unknown: with file, line and column', async () => {
    const home = newHome(undefined, 'peers: { max_connections: 5 }');
    const { code, stderr } = await refusal(home);
    expect(stderr).toBe(`mayfly: ${home.config}:5:1: peers: is no known key; did you mean peer?\n`);
    expect(code).toBe(1);
    expect(readdirSync(home.folder).toSorted()).toEqual(['entries', 'mayfly.yaml']);
  });

  test.concurrent('when a socket’s path is too long', async () => {
    const home = newHome();
    const path = join(home.folder, 'x'.repeat(107 - home.folder.length));
    expect(Buffer.byteLength(path)).toBe(108);
    const { code, stderr } = await refusal(home, { args: ['--socket', path] });
    expect(stderr).toContain("the path has 108 bytes and a socket's has at most 107; choose a shorter one");
    expect(code).toBe(1);
    expect(existsSync(home.dataDir)).toBe(false);
  });

  test.concurrent('when others may write to a socket’s directory', async () => {
    const home = newHome();
    mkdirSync(home.path('open'));
    chmodSync(home.path('open'), 0o777);
    const { code, stderr } = await refusal(home, { args: ['--socket', home.path('open/api.sock')] });
    expect(sentence(stderr)).toBe(
      `${home.path('open')} can be written to by everybody (mode 0777); the socket needs a directory that only root and the agent's user control`,
    );
    expect(code).toBe(1);
    expect(readdirSync(home.path('open'))).toEqual([]);
    expect(existsSync(home.adminSocket)).toBe(false);
  });

  test.concurrent('when an entry file is bad', async () => {
    const home = newHome({
      'own.yaml': 'entries:\n  - id: a\n    spiffe_id: spiffe://other.org/a\n    selectors: []\n',
    });
    const { code, stderr } = await refusal(home);
    expect(stderr).toContain(`${home.path('entries/own.yaml')}:4:16: `);
    expect(code).toBe(1);
    expect(existsSync(home.socket)).toBe(false);
  });

  (nobodyRuns() ? test.concurrent : test.skip)(
    'when the user lacks the permission (needs root, and a clone that others may read)',
    async () => {
      const home = newHome();
      const withoutData = await refusal(home, { uid: NOBODY });
      expect(withoutData.stderr).toMatch(
        /^mayfly: data_dir \S+ cannot be written, give it to the agent's user or set another: EACCES.*\n$/,
      );
      expect(withoutData.code).toBe(1);
      mkdirSync(home.dataDir);
      home.give(NOBODY);
      const { chownSync } = process.getBuiltinModule('node:fs');
      mkdirSync(home.path('sockets'));
      chownSync(home.path('sockets'), 0, 0);
      const withoutSocket = await refusal(home, { uid: NOBODY, args: ['--socket', home.path('sockets/api.sock')] });
      expect(sentence(withoutSocket.stderr)).toMatch(
        /^uid 65534 may not .* \(EACCES\); give the directory to this user, or choose another path$/,
      );
      expect(withoutSocket.code).toBe(1);
      expect(readdirSync(home.path('sockets'))).toEqual([]);
      expect(existsSync(home.adminSocket)).toBe(false);
    },
  );

  test.concurrent('when the lock in data_dir is a link to something else', async () => {
    const home = newHome();
    mkdirSync(home.dataDir, { mode: 0o777 });
    home.write('precious', 'as it was');
    symlinkSync(home.path('precious'), join(home.dataDir, 'lock'));
    const { code, stderr } = await refusal(home);
    expect(stderr).toBe(`mayfly: ${join(home.dataDir, 'lock')} was not made by the agent; remove it\n`);
    expect(code).toBe(1);
    expect(readFileSync(home.path('precious'), 'utf8')).toBe('as it was');
  });

  describe('when the keys in data_dir', () => {
    const home = newHome();
    const file = join(home.dataDir, 'authority/keys.json');
    let good: Buffer;

    beforeAll(async () => {
      await using daemon = await Daemon.start(home);
      await daemon.stop();
      good = readFileSync(file);
    });

    async function refused(): Promise<string> {
      const { lock: _, ...before } = home.dataFiles();
      const { code, stderr } = await refusal(home);
      expect(code).toBe(1);
      expect(stderr.split('\n')).toHaveLength(2);
      const { lock: __, ...after } = home.dataFiles();
      expect(after).toEqual(before);
      expect(existsSync(home.socket)).toBe(false);
      return stderr;
    }

    function lay(content: Buffer | string): void {
      writeFileSync(file, content);
      chmodSync(file, 0o600);
    }

    test('are cut short', async () => {
      lay(good.subarray(0, good.length - 100));
      expect(await refused()).toContain(
        `${file} is damaged: it is no JSON; nothing was changed: restore it from a backup`,
      );
    });

    test('have a turned bit', async () => {
      const text = good.toString();
      const at = text.indexOf('"key"') + 60;
      lay(text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1));
      expect(await refused()).toContain(`${file} is damaged: its checksum does not fit`);
    });

    test('are of another trust domain', async () => {
      lay(good.toString().replace('"example.org"', '"other.org"'));
      expect(await refused()).toContain(`${file} holds the keys of trust domain "other.org", not of example.org`);
    });

    test('are no keys at all', async () => {
      lay('{"hello":"world"}');
      expect(await refused()).toContain(`${file} is no key file of this agent`);
    });

    test('can be read by others', async () => {
      lay(good);
      chmodSync(file, 0o644);
      expect(await refused()).toContain(
        `${file} has mode 0644: others have access to the authority's keys; run chmod 600`,
      );
    });

    test('are gone from beside others', async () => {
      lay(good);
      renameSync(file, `${file}.bak`);
      expect(await refused()).toContain('holds keys.json.bak but no keys.json; put the file back');
      renameSync(`${file}.bak`, file);
      await using daemon = await Daemon.start(home);
      expect((await daemon.stop()).code).toBe(0);
    });
  });

  describe('when the disk is full', () => {
    // A page for the lock, and none for the keys; then none at all.
    for (const [what, fill] of [
      ['of keys', ''],
      ['of everything', 'head -c 4096 /dev/zero > "$1/filler";'],
    ] as const) {
      test.skipIf(!hasNamespaces)(`${what} (needs root and mount namespaces)`, async () => {
        const home = newHome();
        mkdirSync(home.dataDir, { mode: 0o700 });
        const script = `mount -t tmpfs -o size=4k,mode=700 none "$1"; ${fill} "$2" "$3" run --config "$4"; code=$?; find "$1" -type f -size +0; exit $code`;
        const child = spawn(
          'unshare',
          ['--mount', 'sh', '-c', script, 'sh', home.dataDir, process.execPath, MAIN, home.config],
          { env: plainEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] },
        );
        const { code, stdout, stderr } = await endOf(child);
        expect(stderr).toMatch(
          /^mayfly: (cannot write \S+keys\.json: the disk is full; free some space|no room for data_dir \S+; free some, or set another)\n$/,
        );
        expect(code).toBe(1);
        expect(stdout).not.toContain('keys.json');
        expect(existsSync(home.socket)).toBe(false);
      });
    }
  });
});

test('without a configuration it says which there could be', async () => {
  const { code, stderr } = await mayfly(['run']);
  expect(stderr).toBe('mayfly: no configuration is named; give --config FILE, or set MAYFLY_CONFIG\n');
  expect(code).toBe(2);
});
