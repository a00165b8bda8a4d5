import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TarEntry, tar } from './tar.ts';

/** An image of one layer. */
export interface ImageSpec {
  /** Name and tag. */
  readonly name: string;
  readonly entrypoint: readonly string[];
  readonly files: readonly TarEntry[];
}

/** Writes an image as `docker save` does, so that every engine can load it; there is no registry to pull one from. */
export function dockerArchive({ name, entrypoint, files }: ImageSpec): Buffer {
  const layer = tar(files);
  const layerDigest = digestOf(layer);
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: { Entrypoint: entrypoint, Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${layerDigest}`] },
    }),
  );
  const configName = `${digestOf(config)}.json`;
  const layerName = `${layerDigest}/layer.tar`;
  const manifest = Buffer.from(JSON.stringify([{ Config: configName, RepoTags: [name], Layers: [layerName] }]));
  const file = (path: string, content: Buffer): TarEntry => ({ name: path, content: { file: content }, mode: 0o644 });
  return tar([file(configName, config), file(layerName, layer), file('manifest.json', manifest)]);
}

/** The image of all pods that are no agent: the Workload API's client, and busybox to wait with. */
export const WORKLOAD_IMAGE = 'mayfly.test/workload:1';

/** @param debian where Debian's packages are unpacked @param client a static program */
export function workloadImage(debian: string, client: string): Buffer {
  return dockerArchive({
    name: WORKLOAD_IMAGE,
    // What sandboxes run as well: it waits.
    entrypoint: ['/bin/busybox', 'sleep', '100000'],
    files: [
      { name: 'bin/', content: 'directory', mode: 0o755 },
      program('bin/busybox', join(debian, 'bin/busybox')),
      { name: 'bin/sh', content: { link: 'busybox' }, mode: 0o777 },
      program('bin/workload', client),
    ],
  });
}

/** An image of a static program and nothing else. @param name of the image, and its tag */
export function programImage(name: string, path: string): Buffer {
  return dockerArchive({ name, entrypoint: ['/program'], files: [program('program', path)] });
}

function program(name: string, path: string): TarEntry {
  return { name, content: { file: readFileSync(path) }, mode: 0o755 };
}

function digestOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
