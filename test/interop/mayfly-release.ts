import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { PLATFORMS, type Platform } from '../../deploy/release/platform.ts';
import type { DockerEngine } from './docker-engine.ts';
import { tool } from './toolchains.ts';

export const ROOT: string = join(import.meta.dirname, '..', '..');

/** The platform of this machine. */
export function ownPlatform(): Platform {
  const found = PLATFORMS.find(({ arch }) => arch === process.arch);
  if (found === undefined) throw new Error(`there is no release for ${process.arch}`);
  return found;
}

/** Makes a release as `npm run release` does. @param to its folder @param env what is different from how the tests are run */
export async function makeRelease(
  to: string,
  { args = [], env = {} }: { readonly args?: readonly string[]; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  const set = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  await tool('env', [...set, process.execPath, 'deploy/release/release.ts', '--to', to, ...args], ROOT);
}

/** Makes a release for this machine, and an image of it as the Dockerfile says. @param context a folder that nothing else is in */
export async function buildImage(engine: DockerEngine, name: string, context: string): Promise<void> {
  mkdirSync(context, { recursive: true });
  await makeRelease(join(context, 'dist'), { args: ['--platform', ownPlatform().name] });
  for (const file of ['Dockerfile', '.dockerignore']) cpSync(join(ROOT, file), join(context, file));
  await rebuildImage(engine, name, context);
}

/** Builds the image once more, of what is there. @param options of `docker build` */
export async function rebuildImage(
  engine: DockerEngine,
  name: string,
  context: string,
  options: readonly string[] = [],
): Promise<void> {
  const platform = ['--build-arg', `TARGETARCH=${ownPlatform().name}`];
  await engine.docker(['build', '--no-cache', ...platform, ...options, '--tag', name, context]);
}
