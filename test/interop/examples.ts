import { cpSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Equipment } from './equipment.ts';
import { built, pythonEnvironment, tool } from './toolchains.ts';

/** The folder that users copy from. */
export const EXAMPLES = join(import.meta.dirname, '..', '..', 'deploy', 'examples');

export type Language = 'go' | 'java' | 'node' | 'python' | 'rust';

/** The two programs of an example, built as its README says. */
export interface Example {
  readonly server: Equipment;
  readonly client: Equipment;
}

const out = join(import.meta.dirname, 'out');

export function goExample(directory: string): Promise<Example> {
  const programs = join(directory, 'example-go');
  const build = () => tool('go', ['build', '-o', `${programs}/`, './...'], join(EXAMPLES, 'go'));
  return pair(['go'], (name) => [join(programs, name)], build);
}

export function javaExample(directory: string): Promise<Example> {
  const folder = join(EXAMPLES, 'java');
  const libraries = join(directory, 'example-java', 'lib');
  const classes = join(directory, 'example-java', 'bin');
  const goal = ['dependency:copy-dependencies', `-DoutputDirectory=${libraries}`];
  const classPath = ['-cp', `${classes}:${libraries}/*`];
  return pair(
    ['java', 'javac', 'mvn'],
    // Short-lived processes: what the compilers would gain comes too late.
    (name) => ['java', '-XX:TieredStopAtLevel=1', ...classPath, name === 'server' ? 'Server' : 'Client'],
    async () => {
      await tool('mvn', ['--quiet', '--batch-mode', '--file', join(folder, 'pom.xml'), ...goal], directory);
      await tool('javac', [...classPath, '-d', classes, 'Server.java', 'Client.java'], folder);
    },
  );
}

/** Runs it from a copy: outside of this repository, whose packages it must not need. */
export function nodeExample(directory: string): Promise<Example> {
  const copy = join(directory, 'example-node');
  return pair(
    ['npm'],
    (name) => [process.execPath, join(copy, `${name}.js`)],
    async () => {
      cpSync(join(EXAMPLES, 'node'), copy, {
        recursive: true,
        filter: (path) => basename(path) !== 'node_modules',
      });
      await tool('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], copy);
    },
  );
}

export function pythonExample(): Promise<Example> {
  const environment = join(out, 'example-python');
  const folder = join(EXAMPLES, 'python');
  return pair(
    ['python3'],
    (name) => [join(environment, 'bin', 'python'), '-B', join(folder, `${name}.py`)],
    () => pythonEnvironment(environment, join(folder, 'requirements.txt')),
  );
}

/** Into the target directory, and with the profile, of the client: libraries that are the same are built once. */
export function rustExample(): Promise<Example> {
  const target = join(out, 'rust');
  const profile = ['--config', 'profile.dev.debug=false'];
  return pair(
    ['cargo'],
    (name) => [join(target, 'debug', name)],
    () => tool('cargo', ['build', '--quiet', '--locked', ...profile, '--target-dir', target], join(EXAMPLES, 'rust')),
  );
}

async function pair(
  tools: readonly string[],
  commandOf: (name: keyof Example) => readonly [string, ...string[]],
  build: () => Promise<unknown>,
): Promise<Example> {
  const server = await built(tools, commandOf('server'), build);
  return { server, client: server.kind === 'ready' ? { kind: 'ready', command: commandOf('client') } : server };
}
