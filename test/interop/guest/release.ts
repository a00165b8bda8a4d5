import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeRelease } from '../mayfly-release.ts';
import type { Machine } from './machine.ts';

/** Makes the archives that users of such machines download, from this clone. @param directory for them */
export function makeReleases(machines: readonly Machine[], directory: string): Promise<void> {
  return makeRelease(directory, { args: machines.flatMap(({ platform }) => ['--platform', platform]) });
}

/** The archive that a user of such a machine downloads. @param directory of {@link makeReleases} */
export function releaseFor({ platform }: Machine, directory: string): Buffer {
  const [file = ''] = globSync(`mayfly-*-linux-${platform}.tar.gz`, { cwd: directory });
  return readFileSync(join(directory, file));
}
