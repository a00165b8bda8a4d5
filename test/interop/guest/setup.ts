import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import type { Equipment } from '../equipment.ts';
import { AMD64, ARM64, type Machine } from './machine.ts';
import { machineParts } from './parts.ts';
import { makeReleases } from './release.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Machines to start, by what their releases are for. */
    guests: Readonly<Record<Machine['platform'], Equipment>>;
    /** Where the releases to install on them are. */
    guestReleases: string;
  }
}

/** Fetches and makes, once for all files, what is tried in a guest. */
export default async function setup({ provide }: TestProject): Promise<() => void> {
  const directory = mkdtempSync(join(tmpdir(), 'mayfly-guest-releases-'));
  // One after the other: the same programs start both.
  const guests = { amd64: await machineParts(AMD64), arm64: await machineParts(ARM64) };
  const machines = [AMD64, ARM64].filter(({ platform }) => guests[platform].kind !== 'missing');
  if (machines.length > 0) await makeReleases(machines, directory);
  provide('guests', guests);
  provide('guestReleases', directory);
  return () => rmSync(directory, { recursive: true, force: true });
}
