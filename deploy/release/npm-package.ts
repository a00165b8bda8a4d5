import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LockedPackage } from './lock.ts';

/**
 * Gets a package that may be of another processor than this machine's, and unpacks it.
 *
 * @param to where its folder is made
 * @returns the folder
 * @throws Error when it is not what was pinned
 */
export function npmPackage({ name, version, integrity }: LockedPackage, to: string): string {
  const folder = join(to, name.replace('/', '+'));
  mkdirSync(folder, { recursive: true });
  const args = ['pack', '--silent', '--prefer-offline', '--ignore-scripts', '--pack-destination', folder];
  execFileSync('npm', [...args, `${name}@${version}`], { cwd: to, stdio: ['ignore', 'ignore', 'inherit'] });
  const [archive = ''] = readdirSync(folder);
  const found = `sha512-${createHash('sha512')
    .update(readFileSync(join(folder, archive)))
    .digest('base64')}`;
  if (found !== integrity) throw new Error(`${name} ${version} has ${found}, and not ${integrity} as it is pinned`);
  execFileSync('tar', ['-xzf', archive, '--no-same-owner'], { cwd: folder });
  return join(folder, 'package');
}
