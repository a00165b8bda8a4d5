import { copyFileSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bundle } from './bundle.ts';
import { componentsOf, npmComponent } from './component.ts';
import { libatomic } from './libatomic.ts';
import { licences } from './licences.ts';
import { Lock } from './lock.ts';
import { setModes } from './modes.ts';
import { nativeOf } from './native.ts';
import { npmPackage } from './npm-package.ts';
import type { Origin } from './origin.ts';
import type { Platform } from './platform.ts';
import { sbom } from './sbom.ts';

/** What it is deployed with. */
const ALSO: readonly string[] = ['deploy/systemd'];

/**
 * Lays out what a release has for one platform.
 *
 * @param root the repository's folder
 * @param to the folder that is made
 * @param scratch for what is downloaded
 */
export async function layOut(
  root: string,
  origin: Origin,
  platform: Platform,
  { code, from }: Bundle,
  to: string,
  scratch: string,
): Promise<void> {
  const lock = new Lock(root);
  const [nodePlace, koffiPlace] = [
    `node_modules/node-linux-${platform.arch}`,
    `node_modules/@koromix/koffi-linux-${platform.arch}`,
  ];
  const node = npmPackage(lock.at(nodePlace), scratch);
  const koffi = npmPackage(lock.at(koffiPlace), scratch);
  const atomic = await libatomic(platform, scratch);
  const components = [
    ...componentsOf(root, lock, from),
    // Its native part has no text of its own.
    npmComponent(lock, 'node_modules/koffi', join(root, 'node_modules/koffi')),
    npmComponent(lock, koffiPlace, koffi),
    npmComponent(lock, nodePlace, node),
    atomic.component,
  ];

  mkdirSync(join(to, 'lib'), { recursive: true });
  copyFileSync(join(root, 'deploy/release/mayfly'), join(to, 'mayfly'));
  copyFileSync(join(node, 'bin/node'), join(to, 'node'));
  writeFileSync(join(to, 'mayfly.mjs'), code);
  copyFileSync(nativeOf(koffi, platform.arch), join(to, 'koffi.node'));
  copyFileSync(atomic.library, join(to, 'lib/libatomic.so.1'));
  copyFileSync(join(root, 'LICENSE'), join(to, 'LICENSE'));
  writeFileSync(join(to, 'THIRD-PARTY-LICENSES'), licences(components));
  writeFileSync(join(to, 'sbom.cdx.json'), sbom('mayfly', origin, platform, components));
  for (const folder of ALSO) cpSync(join(root, folder), join(to, folder), { recursive: true });
  setModes(to, { executable: /^(?:mayfly|node)$/ });
}
