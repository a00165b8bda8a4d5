import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  createReadStream,
  createWriteStream,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import type { Machine } from './machine.ts';
import { archive, archiveOf, kernelOf, PROGRAMS_ROOT } from './parts.ts';
import { EXECUTABLE, SYSTEM_FILES, shellOn } from './system-files.ts';

/** All takes ten times as long as on the machine that it runs on, which others may keep busy. */
const PATIENCE_MS = 300_000;
const HARDWARE = '-accel tcg,thread=multi -smp 2 -m 2G -nodefaults -no-user-config -no-reboot -display none -nic none';
const LOADER = 'lib/x86_64-linux-gnu/ld-linux-x86-64.so.2';

/** What a script in the guest came to. */
export interface Outcome {
  readonly code: number;
  /** What it has printed, errors too. */
  readonly output: string;
}

/**
 * A machine in qemu, emulated as a whole since few machines that run tests can do better: cgroups of version 2 alone, systemd as
 * process 1, everything in memory. It ends with the process that started it.
 */
export class Guest implements AsyncDisposable {
  readonly #directory: string;
  readonly #qemu: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;

  private constructor(machine: Machine, directory: string, initrd: string) {
    this.#directory = directory;
    this.#qemu = spawnQemu(machine, initrd, this.#console);
    if (this.#qemu.stdout === null) throw new Error('a machine without a serial line');
    this.#ended = once(this.#qemu, 'close');
    this.#lines = createInterface({ input: this.#qemu.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  /**
   * Starts one with further files, root's.
   *
   * @param files by their paths below the root
   * @param packages what it has beside its system
   */
  static async start(
    machine: Machine,
    files: Readonly<Record<string, string | Buffer>>,
    packages: readonly (keyof Machine['packages'])[] = [],
  ): Promise<Guest> {
    const directory = mkdtempSync(join(tmpdir(), 'mayfly-guest-'));
    const more = join(directory, 'more.cpio');
    const initrd = join(directory, 'initrd.cpio');
    writeFiles(join(directory, 'more'), { ...SYSTEM_FILES, ...shellOn(machine.lines.shell), ...files });
    await archive(join(directory, 'more'), more);
    // The kernel unpacks one after the other.
    copyFileSync(archiveOf(machine, 'system'), initrd);
    for (const next of [...packages.map((set) => archiveOf(machine, set)), more]) {
      await pipeline(createReadStream(next), createWriteStream(initrd, { flags: 'a' }));
    }
    const guest = new Guest(machine, directory, initrd);
    try {
      await guest.#answerTo('its start');
      return guest;
    } catch (error) {
      await guest[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a script of bash as root, which ends with the first command that fails. */
  async try(script: string): Promise<Outcome> {
    this.#qemu.stdin?.write(`${Buffer.from(script).toString('base64')}\n`);
    const [code, output = ''] = (await this.#answerTo(script)).split(' ');
    return { code: Number(code), output: Buffer.from(output, 'base64').toString('utf8').trimEnd() };
  }

  /** Runs a script of bash as root. @returns what it has printed @throws when it fails */
  async run(script: string): Promise<string> {
    const { code, output } = await this.try(script);
    if (code !== 0) throw new Error(`this ended with ${code}:\n${script}\nand had printed:\n${output}`);
    return output;
  }

  /** Runs a script of bash until what it prints is so. */
  async until(script: string, isSo: (output: string) => boolean): Promise<string> {
    const start = performance.now();
    for (;;) {
      const { code, output } = await this.try(script);
      if (code === 0 && isSo(output)) return output;
      if (performance.now() - start > PATIENCE_MS) throw new Error(`this still prints:\n${output}\n${script}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#lines.close();
    this.#qemu.kill('SIGKILL');
    await this.#ended;
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get #console(): string {
    return join(this.#directory, 'console');
  }

  async #answerTo(what: string): Promise<string> {
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => late.resolve(undefined), PATIENCE_MS);
    try {
      const line = await Promise.race([this.#answers.next(), late.promise]);
      if (line?.done === false) return line.value;
    } finally {
      clearTimeout(timer);
    }
    const said = readFileSync(this.#console, 'utf8').slice(-4000);
    throw new Error(`the machine did not answer to:\n${what}\nIts console:\n${said}`);
  }
}

function writeFiles(root: string, files: Readonly<Record<string, string | Buffer>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), content);
    chmodSync(join(root, path), EXECUTABLE.has(path) ? 0o755 : 0o644);
  }
}

function spawnQemu(machine: Machine, initrd: string, console: string): ChildProcess {
  // Its libraries are those of its own packages: this machine may have none, or others.
  const libraries = globSync('usr/lib/x86_64-linux-gnu/{.,*/}', { cwd: PROGRAMS_ROOT });
  const { qemu, lines } = machine;
  const [program = '', ...hardware] = `${qemu} ${HARDWARE}`.split(' ');
  const command = [
    '--pdeathsig=KILL',
    join(PROGRAMS_ROOT, LOADER),
    '--library-path',
    libraries.map((path) => join(PROGRAMS_ROOT, path)).join(':'),
    join(PROGRAMS_ROOT, 'usr/bin', program),
    ...hardware,
    '-L',
    join(PROGRAMS_ROOT, 'usr/share/qemu'),
    '-L',
    join(PROGRAMS_ROOT, 'usr/share/seabios'),
    '-kernel',
    kernelOf(machine),
    '-initrd',
    initrd,
    '-append',
    `console=${lines.kernel} quiet panic=-1 cgroup_no_v1=all`,
    '-serial',
    `file:${console}`,
    ...lines.qemu.split(' '),
  ];
  return spawn('setpriv', command, {
    env: { ...process.env, QEMU_MODULE_DIR: join(PROGRAMS_ROOT, 'usr/lib/x86_64-linux-gnu/qemu') },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}
