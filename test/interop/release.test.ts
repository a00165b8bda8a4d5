import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { unpack } from '../../deploy/release/debian.ts';
import { Lock } from '../../deploy/release/lock.ts';
import { npmPackage } from '../../deploy/release/npm-package.ts';
import { originOf } from '../../deploy/release/origin.ts';
import { PLATFORMS } from '../../deploy/release/platform.ts';
import { equipped } from './equipment.ts';
import { makeRelease, ownPlatform, ROOT } from './mayfly-release.ts';
import { built, tool } from './toolchains.ts';

// Twice two archives, the first time with what is downloaded.
const RELEASES_MS = 300_000;
/** What `e_machine` of an ELF file says. */
const MACHINES = { amd64: 62, arm64: 183 } as const;

interface Sbom {
  readonly bomFormat: string;
  readonly serialNumber: string;
  readonly metadata: { readonly timestamp: string; readonly component: { readonly version: string } };
  readonly components: readonly { readonly name: string; readonly version: string; readonly purl: string }[];
}

const archives = await built(['dpkg-deb', 'gzip', 'npm', 'sha256sum', 'tar'], ['tar'], () =>
  tool('tar', ['--version'], '/'),
);

equipped('a release', [archives], () => {
  const { version, commit, date } = originOf(ROOT);
  let folder: string;
  let first: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-releases-'));
    first = join(folder, 'first');
    await makeRelease(first);
    for (const { name } of PLATFORMS) {
      mkdirSync(join(folder, name));
      await tool('tar', ['-xzf', join(first, `mayfly-${version}-linux-${name}.tar.gz`)], join(folder, name));
    }
  }, RELEASES_MS);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const inRelease = (platform: string, name: string) => join(folder, platform, 'mayfly', name);
  const sbomOf = (platform: string) => JSON.parse(readFileSync(inRelease(platform, 'sbom.cdx.json'), 'utf8')) as Sbom;

  it(
    'has the same bytes when it is made again, later and by somebody with other settings',
    async () => {
      const again = join(folder, 'again');
      const scratch = join(folder, 'scratch');
      mkdirSync(scratch);
      const old = process.umask(0o077);
      try {
        await makeRelease(again, {
          env: { TMPDIR: scratch, TZ: 'Pacific/Kiritimati', LC_ALL: 'C', GZIP: '-1', TAR_OPTIONS: '--mode=0777' },
        });
      } finally {
        process.umask(old);
      }
      expect(readFileSync(join(again, 'SHA256SUMS'), 'utf8')).toBe(readFileSync(join(first, 'SHA256SUMS'), 'utf8'));
      for (const { name } of PLATFORMS) {
        for (const file of [
          `mayfly-${version}-linux-${name}.tar.gz`,
          `image/base-${name}.tar`,
          `image/mayfly-${name}.tar`,
        ]) {
          expect(readFileSync(join(again, file)).equals(readFileSync(join(first, file))), file).toBe(true);
        }
      }
    },
    RELEASES_MS,
  );

  it('is what its checksums say', async () => {
    const said = await tool('sha256sum', ['--check', '--strict', 'SHA256SUMS'], first);
    expect(said).toBe(PLATFORMS.map(({ name }) => `mayfly-${version}-linux-${name}.tar.gz: OK\n`).join(''));
  });

  it('says of its files nothing of who made it, and lets nobody but root change them', async () => {
    for (const { name } of PLATFORMS) {
      const listed = await tool(
        'tar',
        ['-tvzf', join(first, `mayfly-${version}-linux-${name}.tar.gz`), '--full-time', '--utc'],
        '/',
      );
      for (const line of listed.trimEnd().split('\n')) {
        expect(line).toMatch(/^(?:drwxr-xr-x|-rw-r--r--|-rwxr-xr-x) 0\/0 /);
        expect(line).toContain(date.slice(0, 10));
      }
      expect(readFileSync(inRelease(name, 'mayfly.mjs'), 'utf8')).not.toContain(ROOT);
    }
  });

  it('is for its processor', () => {
    for (const { name } of PLATFORMS) {
      for (const file of ['node', 'koffi.node', 'lib/libatomic.so.1']) {
        const header = readFileSync(inRelease(name, file)).subarray(0, 20);
        expect(header.subarray(0, 4).toString('latin1')).toBe('\u007fELF');
        expect(header.readUInt16LE(18), `${name} ${file}`).toBe(MACHINES[name]);
      }
      expect(statSync(inRelease(name, 'mayfly')).mode & 0o777).toBe(0o755);
    }
  });

  it('runs with its own Node, and says what it was made from', () => {
    const run = spawnSync(inRelease(ownPlatform().name, 'mayfly'), ['version', '--json'], {
      encoding: 'utf8',
      env: { PATH: '/usr/bin:/bin' },
    });
    expect(run.stderr).toBe('');
    const { version: node } = new Lock(ROOT).at(`node_modules/node-linux-${process.arch}`);
    const platform = `linux-${process.arch}`;
    expect(JSON.parse(run.stdout)).toEqual({ version, commit, date, form: 'bundle', node: `v${node}`, platform });
  });

  it('lists all that is in it, and has the licence of each', () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      readonly dependencies: Readonly<Record<string, string>>;
      readonly devDependencies: Readonly<Record<string, string>>;
    };
    for (const { arch, name: platform } of PLATFORMS) {
      const { bomFormat, metadata, components, serialNumber } = sbomOf(platform);
      expect(bomFormat).toBe('CycloneDX');
      expect(serialNumber).toMatch(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
      expect(metadata).toMatchObject({ timestamp: date, component: { version } });
      const found = new Map(components.map((component) => [component.name, component.version]));
      expect(found.size).toBe(components.length);
      for (const [name, pinned] of Object.entries(manifest.dependencies)) expect(found.get(name), name).toBe(pinned);
      for (const name of [`node-linux-${arch}`, `@koromix/koffi-linux-${arch}`, 'libatomic1']) {
        expect(found.has(name), name).toBe(true);
      }
      for (const name of Object.keys(manifest.devDependencies)) expect(found.has(name), name).toBe(false);
      const licences = readFileSync(inRelease(platform, 'THIRD-PARTY-LICENSES'), 'utf8');
      for (const { name, version: of } of components) {
        const text = licences.split(`\n${name} ${of}: `)[1]?.split(`\n${'-'.repeat(80)}\n`)[1] ?? '';
        // The native part has that of koffi.
        if (name !== `@koromix/koffi-linux-${arch}`) expect(text, name).toMatch(/copyright|public domain/i);
      }
    }
    expect(new Set(PLATFORMS.map(({ name }) => sbomOf(name).serialNumber)).size).toBe(PLATFORMS.length);
  });

  it('is not made of anything but what was pinned', async () => {
    const wrong = { amd64: '0'.repeat(64), arm64: '0'.repeat(64) };
    const base = {
      name: 'base-files',
      version: '13.8+deb13u8',
      release: 13,
      pool: 'b/base-files',
      license: 'GPL-2.0-or-later',
    } as const;
    const to = join(folder, 'wrong');
    await expect(unpack({ ...base, sha256: wrong }, ownPlatform(), to)).rejects.toThrow(
      /has the SHA-256 [0-9a-f]{64}, and not 0{64} as it is pinned/,
    );
    const locked = { ...new Lock(ROOT).at('node_modules/pino'), integrity: `sha512-${'A'.repeat(86)}==` };
    mkdirSync(to, { recursive: true });
    expect(() => npmPackage(locked, to)).toThrow(/^pino 10\.4\.0 has sha512-.*, and not sha512-A+== as it is pinned$/);
  });
});
