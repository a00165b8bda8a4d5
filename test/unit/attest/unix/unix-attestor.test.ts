import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AttestationRunner } from '../../../../agent/attest/runner.ts';
import { NameCache, type NameDirectory } from '../../../../agent/attest/unix/name-cache.ts';
import { UnixAttestor, type UnixAttestorOptions } from '../../../../agent/attest/unix/unix-attestor.ts';
import { SystemClock } from '../../../../agent/kernel/clock.ts';
import { Names } from '../../../../agent/peer/system/names.ts';
import { livingInstance } from '../../../support/instance.ts';
import { READY, startWorkload, type Workload } from '../../../support/workload.ts';

const ROOT = process.geteuid?.() === 0;
const OWN = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
const NOBODY = 65_534;
const NOBODYS = { uid: NOBODY, gid: NOBODY };
const SHELL = realpathSync('/bin/sh');
const clock = new SystemClock();
const NAMELESS: NameDirectory = { lookup: () => Promise.resolve(undefined) };

let directory: string;
const closing: (() => Promise<void>)[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(realpathSync(tmpdir()), 'mayfly-unix-'));
  chmodSync(directory, 0o755);
});

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
  rmSync(directory, { recursive: true });
});

function attestor(options: Partial<UnixAttestorOptions> = {}, names: NameDirectory = NAMELESS): UnixAttestor {
  const made = new UnixAttestor(new NameCache(names, { clock }), { path: true, sha256: true, clock, ...options });
  closing.push(() => made.close());
  return made;
}

async function workload(...[command, args, ids, options]: Parameters<typeof startWorkload>): Promise<Workload> {
  const started = await startWorkload(command, args, ids, options);
  closing.push(() => started.stop());
  return started;
}

/** A shell under a name of its own. */
function program(name: string): string {
  const path = join(directory, name);
  copyFileSync(SHELL, path);
  return path;
}

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

async function attest(by: UnixAttestor, { instance }: Workload): Promise<readonly string[]> {
  return (await by.attest(instance, new AbortController().signal)).selectors;
}

/** Runs `run` as a user without rights. The ids of a process are of all its threads. */
async function asNobody<T>(run: () => Promise<T>): Promise<T> {
  process.setegid?.(NOBODY);
  process.seteuid?.(NOBODY);
  try {
    return await run();
  } finally {
    process.seteuid?.(OWN.uid);
    process.setegid?.(OWN.gid);
  }
}

describe('what is said of a process', () => {
  it('is its user, group, path and hash', async () => {
    const path = program('payments');
    const unix = attestor();
    const selectors = await attest(unix, await workload(path, ['-c', READY], OWN));
    expect(selectors).toEqual(
      expect.arrayContaining([
        `unix:uid:${OWN.uid}`,
        `unix:gid:${OWN.gid}`,
        `unix:path:${path}`,
        `unix:sha256:${sha256(path)}`,
      ]),
    );
    expect(selectors.filter((selector) => selector.startsWith('unix:user:'))).toEqual([]);
    expect(unix.shortcomings()).toEqual([]);
  });

  it.runIf(ROOT)('has the supplementary groups too, and all names as the system knows them (as root)', async () => {
    const unix = attestor({ sha256: false }, new Names());
    const args = ['--reuid=65534', '--regid=65534', '--groups=0,2147483646', SHELL, '-c', READY];
    const process = await workload('setpriv', args, NOBODYS);
    expect(await attest(unix, process)).toEqual([
      'unix:uid:65534',
      'unix:user:nobody',
      'unix:gid:65534',
      'unix:group:nogroup',
      'unix:supplementary_gid:0',
      'unix:supplementary_group:root',
      'unix:supplementary_gid:2147483646',
      `unix:path:${SHELL}`,
    ]);
    expect(unix.shortcomings()).toEqual([]);
  });

  it('has no group that it gives itself by its name', async () => {
    const unix = attestor({ path: false, sha256: false });
    const honest = await attest(unix, await workload(SHELL, ['-c', READY], OWN));
    for (const name of [
      '\rGroups:\t0 27',
      'x\rGroups: 4 27',
      'Groups:\t0 27',
      '\x0bGroups:\t0 27',
      ')\u2028Groups: 0',
    ]) {
      const forger = await workload(program(name), ['-c', READY], OWN);
      expect(readFileSync(`/proc/${forger.pid}/comm`, 'utf8')).toContain('Gr');
      expect(await attest(unix, forger)).toEqual(honest);
    }
  });

  it.runIf(ROOT)(
    'has no supplementary group where it has more than anybody is given, and status says so (as root)',
    async () => {
      const unix = attestor({ path: false, sha256: false });
      const of = (count: number) => Array.from({ length: count }, (_, index) => 2_000_000_000 + index);
      const started = (count: number) =>
        workload(
          'setpriv',
          ['--reuid=65534', '--regid=65534', `--groups=${of(count).join()}`, SHELL, '-c', READY],
          NOBODYS,
        );
      const most = await attest(unix, await started(1024));
      expect(most.slice(2)).toEqual(of(1024).map((gid) => `unix:supplementary_gid:${gid}`));
      expect(unix.shortcomings().join()).not.toContain('more than');
      expect(await attest(unix, await started(1025))).toEqual(most.slice(0, 2));
      expect(unix.shortcomings().join()).toMatch(/more than 1024 supplementary groups.*uid 65534 has 1025/);
    },
  );

  it('has numbers alone where the directory of names fails, and status says so', async () => {
    const unix = attestor({ path: false, sha256: false }, { lookup: () => Promise.reject(new Error('LDAP is down')) });
    const process = await workload(SHELL, ['-c', READY], OWN);
    const selectors = await attest(unix, process);
    expect(selectors.slice(0, 2)).toEqual([`unix:uid:${OWN.uid}`, `unix:gid:${OWN.gid}`]);
    expect(selectors.every((selector) => /^unix:(uid|gid|supplementary_gid):\d+$/.test(selector))).toBe(true);
    expect(unix.shortcomings().join('\n')).toContain('LDAP is down');
  });

  it.runIf(ROOT)(
    'has its hash also when it has left the mounts, or the root, that it was started from (as root)',
    async () => {
      const perl = realpathSync('/usr/bin/perl');
      const unshare = process.arch === 'arm64' ? 97 : 272;
      const unix = attestor();
      for (const leaves of [`syscall(${unshare}, 0x20000) == 0 or die`, `chroot "${directory}" or die`]) {
        const program = await workload(perl, ['-e', `$| = 1; ${leaves}; print "ready\\n"; <STDIN>`], OWN);
        expect(await attest(unix, program)).toContain(`unix:sha256:${sha256(perl)}`);
      }
    },
  );

  it('leaves out what is switched off', async () => {
    const process = await workload(SHELL, ['-c', READY], OWN);
    expect((await attest(attestor({ path: false }), process)).join()).not.toContain('unix:path');
    expect((await attest(attestor({ sha256: false }), process)).join()).not.toContain('unix:sha256');
  });

  it('has no hash of a program over the limit, and status says so', async () => {
    const unix = attestor({ maxHashSize: 1000 });
    const selectors = await attest(unix, await workload(SHELL, ['-c', READY], OWN));
    expect(selectors).toContain(`unix:path:${SHELL}`);
    expect(selectors.join()).not.toContain('unix:sha256');
    expect(unix.shortcomings()).toEqual([expect.stringMatching(/max_hash_size.*once.*the limit is 1000/)]);
  });
});

describe('the path of an executable', () => {
  it.runIf(ROOT)('is not said of an impostor that is mounted over it in a namespace of its own (as root)', async () => {
    const payments = program('payments');
    const impostor = join(directory, 'impostor');
    copyFileSync(realpathSync('/bin/bash'), impostor);
    const script = `mount --bind ${impostor} ${payments} && exec ${payments} -c '${READY}'`;
    const process = await workload('unshare', ['--mount', SHELL, '-c', script], OWN);

    const unix = attestor();
    const selectors = await attest(unix, process);
    expect(selectors.join()).not.toContain('unix:path');
    expect(selectors).toContain(`unix:sha256:${sha256(impostor)}`);
    expect(unix.shortcomings()).toEqual([expect.stringContaining(`process ${process.pid}: ${payments}`)]);

    const trusting = attestor({ path: 'any' });
    expect(await attest(trusting, process)).toContain(`unix:path:${payments}`);
    expect(trusting.shortcomings()).toEqual([expect.stringContaining('any user can show any path')]);
  });

  it('is not said when the file was removed, even where another bears the name that procfs shows then', async () => {
    const path = program('payments');
    const process = await workload(path, ['-c', READY], OWN);
    rmSync(path);
    copyFileSync(SHELL, `${path} (deleted)`);
    const unix = attestor();
    const selectors = await attest(unix, process);
    expect(selectors.join()).not.toContain('unix:path');
    expect(selectors).toContain(`unix:sha256:${sha256(SHELL)}`);
    expect(unix.shortcomings()).toEqual([expect.stringContaining('payments (deleted)')]);
  });

  it('is not said when another file has taken its place', async () => {
    const path = program('payments');
    const process = await workload(path, ['-c', READY], OWN);
    renameSync(program('next'), path);
    expect((await attest(attestor(), process)).join()).not.toContain('unix:path');
  });

  it('is the name that the file has now', async () => {
    const path = program('payments');
    const process = await workload(path, ['-c', READY], OWN);
    mkdirSync(join(directory, 'moved'));
    const moved = join(directory, 'moved', 'with (deleted)');
    linkSync(path, join(directory, 'another name'));
    renameSync(path, moved);
    expect(await attest(attestor(), process)).toContain(`unix:path:${moved}`);
  });
});

describe.runIf(ROOT)('an agent without rights (as root, which can be one)', () => {
  it('says only numbers of a process that is not dumpable, and tells it in status', async () => {
    const secretive = program('secretive');
    // The kernel makes a process that runs a program it may not read not dumpable.
    chmodSync(secretive, 0o711);
    const hidden = await workload(secretive, ['-c', READY], NOBODYS, NOBODYS);
    const open = await workload(SHELL, ['-c', READY], NOBODYS, NOBODYS);
    const unix = attestor();
    const [ofHidden, ofOpen] = await asNobody(() => Promise.all([attest(unix, hidden), attest(unix, open)]));
    expect(ofHidden.filter((selector) => !selector.includes('supplementary'))).toEqual([
      'unix:uid:65534',
      'unix:gid:65534',
    ]);
    expect(ofOpen).toEqual(expect.arrayContaining([`unix:path:${SHELL}`, `unix:sha256:${sha256(SHELL)}`]));
    expect(unix.shortcomings()).toEqual([
      expect.stringMatching(new RegExp(`executable.*once.*process ${hidden.pid} of uid 65534: E(ACCES|PERM)`)),
    ]);
  });

  it('says the path and no hash of a program that it may not read', async () => {
    const unreadable = program('unreadable');
    const process = await workload(unreadable, ['-c', READY], NOBODYS, NOBODYS);
    chmodSync(unreadable, 0o711);
    const unix = attestor();
    const selectors = await asNobody(() => attest(unix, process));
    expect(selectors).toContain(`unix:path:${unreadable}`);
    expect(selectors.join()).not.toContain('unix:sha256');
    expect(unix.shortcomings()).toEqual([expect.stringMatching(/could not be hashed.*EACCES/)]);
  });
});

describe.runIf(ROOT && existsSync('/dev/fuse') && spawnSync('fuse-overlayfs', ['--version']).status === 0)(
  'a program in a file system that its user has made (as root, with fuse-overlayfs)',
  () => {
    /** A shell of the user's in FUSE at `mount`, or where `then` runs one in his namespaces; the server is its only child. */
    async function started(then: string): Promise<Workload> {
      for (const name of ['lower', 'mount', 'over']) mkdirSync(join(directory, name), { mode: 0o755 });
      copyFileSync(SHELL, join(directory, 'lower/sh'));
      writeFileSync(join(directory, 'ready'), READY);
      writeFileSync(join(directory, 'then'), then);
      // Not everybody may open /dev/fuse everywhere. The server ends with the program, which has started it.
      const mounting = `mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse &&
        exec setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups unshare --user --map-root-user --mount sh -c '
          setpriv --pdeathsig KILL fuse-overlayfs -f -o timeout=0,lowerdir=lower mount 2>/dev/null &
          until test -e mount/sh; do kill -0 $! || exit 1; sleep 0.05; done
          mount -t overlay overlay -o lowerdir=mount:lower over && exec unshare --mount sh ./then'`;
      return await workload('unshare', ['--mount', 'sh', '-c', mounting], NOBODYS, { cwd: directory });
    }

    it('says only numbers of what is for that user alone', async () => {
      const process = await started('exec mount/sh ready');
      const unix = attestor();
      expect(await attest(unix, process)).toEqual([`unix:uid:${NOBODY}`, `unix:gid:${NOBODY}`]);
      expect(unix.shortcomings()).toEqual([expect.stringMatching(/file system.*mount\/sh: EACCES/)]);
    });

    it.each([
      ['', 'exec over/sh ready'],
      // Followed, that path would lead the agent to where the program is. The server needs the real /proc, and has it.
      [
        ', nor at a path that leads to him',
        'mount -t tmpfs none /proc; it=/proc/$$/root$PWD/over; mkdir -p $it; mount --bind over $it; exec $it/sh ready',
      ],
    ])('says only numbers of what lies under an overlay, and does not wait for who serves it%s', async (_, then) => {
      const program = await started(then);
      const server = Number(readFileSync(`/proc/${program.pid}/task/${program.pid}/children`, 'utf8'));
      process.kill(server, 'SIGSTOP');
      const unix = attestor();
      expect(await attest(unix, program)).toEqual([`unix:uid:${NOBODY}`, `unix:gid:${NOBODY}`]);
      expect(unix.shortcomings()).toEqual([
        expect.stringMatching(/names another file or none.*over\/sh/),
        expect.stringMatching(/could not be hashed.*over\/sh: it lies in an overlay that a user may have mounted/),
      ]);
    });
  },
);

it('says only numbers of a process that procfs hides from the agent, as hidepid does', async () => {
  const unix = attestor();
  // Above any pid: procfs has nothing there, while the instance lives.
  const hidden = { ...livingInstance(1000), pid: 2 ** 30 };
  expect((await unix.attest(hidden, new AbortController().signal)).selectors).toEqual([
    'unix:uid:1000',
    'unix:gid:1000',
  ]);
  expect(unix.shortcomings()).toEqual([
    expect.stringMatching(/supplementary groups.*ENOENT/),
    expect.stringMatching(/executable.*ENOENT/),
  ]);
});

describe('a process that does not stay', () => {
  function runner(unix: UnixAttestor): AttestationRunner {
    const made = new AttestationRunner([unix], { clock });
    closing.push(() => made.close());
    return made;
  }

  it('is unknown when it exits meanwhile; that is the shortcoming of nobody', async () => {
    const process = await workload(SHELL, ['-c', READY], OWN);
    const dies: NameDirectory = {
      async lookup() {
        await process.stop();
        return 'root';
      },
    };
    const unix = attestor({}, dies);
    await expect(runner(unix).attest(process.instance)).rejects.toMatchObject({
      code: 'CALLER_UNKNOWN',
      message: `process ${process.pid} has exited since it connected`,
    });
    expect(unix.shortcomings()).toEqual([]);
  });

  it('says nothing of a program that is gone already', async () => {
    const process = await workload(SHELL, ['-c', READY], OWN);
    const { pid, instance } = process;
    await process.stop();
    const unix = attestor();
    expect((await unix.attest(instance, new AbortController().signal)).selectors).toEqual([
      `unix:uid:${OWN.uid}`,
      `unix:gid:${OWN.gid}`,
    ]);
    expect(unix.shortcomings()).toEqual([]);
    await expect(runner(unix).attest(instance)).rejects.toMatchObject({ code: 'CALLER_UNKNOWN' });
    expect(pid).toBeGreaterThan(0);
  });

  it('is unknown when it becomes another program meanwhile', async () => {
    const process = await workload(SHELL, ['-c', `${READY}; exec ${program('next')} -c '${READY}'`], OWN);
    let became: Promise<string> | undefined;
    const becomes: NameDirectory = {
      async lookup() {
        if (became === undefined) {
          became = process.says();
          process.tell('go on');
        }
        await became;
        return undefined;
      },
    };
    await expect(runner(attestor({}, becomes)).attest(process.instance)).rejects.toMatchObject({
      code: 'CALLER_UNKNOWN',
      message: `process ${process.pid} has executed another program since it connected`,
    });
  });

  it('leaves no descriptor behind', async () => {
    const unix = attestor();
    const process = await workload(SHELL, ['-c', READY], OWN);
    await attest(unix, process);
    const before = descriptors();
    for (let round = 0; round < 20; round += 1) await attest(unix, process);
    expect(descriptors()).toBe(before);
  });
});

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}
