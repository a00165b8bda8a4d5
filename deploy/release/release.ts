/**
 * `npm run release`: `dist/mayfly-VERSION-linux-ARCH.tar.gz` for each platform, `dist/SHA256SUMS`, and in `dist/image` what the Dockerfile
 * adds. The same commit gives the same bytes, wherever and whenever it is run.
 *
 *     npm run release [-- --platform amd64] [--to FOLDER]
 */
import { globSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { layer, pack } from './archive.ts';
import { layOutBase } from './base.ts';
import { bundle } from './bundle.ts';
import { layOut } from './contents.ts';
import { layOutImage } from './image.ts';
import { originOf } from './origin.ts';
import { PLATFORMS } from './platform.ts';

const ROOT = join(import.meta.dirname, '..', '..');

const { values } = parseArgs({
  options: { to: { type: 'string', default: join(ROOT, 'dist') }, platform: { type: 'string', multiple: true } },
});
const platforms = PLATFORMS.filter(({ name }) => values.platform?.includes(name) ?? true);
const unknown = values.platform?.filter((asked) => !platforms.some(({ name }) => name === asked)) ?? [];
if (unknown.length > 0) {
  const known = PLATFORMS.map(({ name }) => name).join(', ');
  throw new Error(`there is no release for ${unknown.join(', ')}; --platform takes ${known}`);
}

const origin = originOf(ROOT);
const made = await bundle(ROOT, origin);
const scratch = mkdtempSync(join(tmpdir(), 'mayfly-release-'));
try {
  mkdirSync(join(values.to, 'image'), { recursive: true });
  // What is there must not be two versions.
  for (const old of globSync(['mayfly-*.tar.gz', 'image/*.tar'], { cwd: values.to })) rmSync(join(values.to, old));
  const sums: string[] = [];
  for (const platform of platforms) {
    const at = (name: string) => join(scratch, platform.name, name);
    await layOut(ROOT, origin, platform, made, at('mayfly'), at('from'));
    const file = `mayfly-${origin.version}-linux-${platform.name}.tar.gz`;
    const release = { owner: 0, folder: at('.'), names: ['mayfly'] };
    sums.push(`${await pack(release, origin.date, join(values.to, file))}  ${file}\n`);
    console.log(join(values.to, file));

    await layOutBase(origin, platform, at('base'), at('debian'));
    const base = { owner: 0, folder: at('base'), names: readdirSync(at('base')).toSorted() };
    await layer([base], origin.date, join(values.to, `image/base-${platform.name}.tar`));
    await layer(
      layOutImage(at('mayfly'), at('image')),
      origin.date,
      join(values.to, `image/mayfly-${platform.name}.tar`),
    );
  }
  writeFileSync(join(values.to, 'SHA256SUMS'), sums.join(''));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
