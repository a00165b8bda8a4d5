import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import type { Equipment } from './equipment.ts';
import { goClient, javaClient, opensslProgram, pythonClient } from './toolchains.ts';

declare module 'vitest' {
  interface ProvidedContext {
    equipment: {
      readonly go: Equipment;
      readonly java: Equipment;
      readonly openssl: Equipment;
      readonly python: Equipment;
    };
  }
}

/** Builds once, for all files, whatever this machine can build. What it cannot is for {@link equipped} to tell. */
export default async function setup({ provide }: TestProject): Promise<() => void> {
  const directory = mkdtempSync(join(tmpdir(), 'mayfly-interop-'));
  // Programs in it are run as other users too.
  chmodSync(directory, 0o755);
  const [go, java, openssl, python] = await Promise.all([
    goClient(directory),
    javaClient(directory),
    opensslProgram(),
    pythonClient(),
  ]);
  provide('equipment', { go, java, openssl, python });
  return () => rmSync(directory, { recursive: true, force: true });
}
