import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import type { Equipment } from '../equipment.ts';
import { machineParts } from './machine.ts';
import { releaseArchive } from './release.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A machine to start. */
    guest: Equipment;
    /** The path of the archive to install on it; empty where there is no machine. */
    guestRelease: string;
  }
}

/** Fetches and makes, once for all files, what is tried in a guest. */
export default async function setup({ provide }: TestProject): Promise<() => void> {
  const directory = mkdtempSync(join(tmpdir(), 'mayfly-guest-release-'));
  const machine = await machineParts();
  provide('guest', machine);
  provide('guestRelease', machine.kind === 'missing' ? '' : await releaseArchive(directory));
  return () => rmSync(directory, { recursive: true, force: true });
}
