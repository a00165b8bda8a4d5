import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';

/** True where the `openssl` program can be run; tests that need it are skipped by name elsewhere. */
export const HAS_OPENSSL: boolean = spawnSync('openssl', ['version']).status === 0;

/** Runs `openssl` and returns what it said and how it ended. */
export function openssl(args: readonly string[], input?: Buffer): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync('openssl', args, input === undefined ? {} : { input });
  return { status, output: Buffer.concat([stdout, stderr]).toString() };
}

/** One certificate in PEM. */
export function pemOf(der: Buffer): string {
  return new X509Certificate(der).toString();
}
