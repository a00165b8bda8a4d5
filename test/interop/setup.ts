import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import type { Equipment } from './equipment.ts';
import { goClient, javaClient, opensslProgram, pythonClient, rustClient } from './toolchains.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** By what the programs are of. */
    equipment: Readonly<Record<'go' | 'java' | 'openssl' | 'python' | 'rust', Equipment>>;
  }
}

/** Builds once, for all files, whatever this machine can build. What it cannot is for `equipped` to tell. */
export default async function setup({ provide }: TestProject): Promise<() => void> {
  const directory = mkdtempSync(join(tmpdir(), 'mayfly-interop-'));
  // Programs in it are run as other users too.
  chmodSync(directory, 0o755);
  const [go, java, openssl, python, rust] = await Promise.all([
    goClient(directory),
    javaClient(directory),
    opensslProgram(),
    pythonClient(),
    rustClient(),
  ]);
  const equipment = { go, java, openssl, python, rust };
  for (const [name, of] of Object.entries(equipment)) {
    if (of.kind === 'missing') console.warn(`no tests with ${name}: ${of.reason}`);
  }
  provide('equipment', equipment);
  return () => rmSync(directory, { recursive: true, force: true });
}
