import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import type { Equipment } from './equipment.ts';
import { forgetRun } from './evidence/run.ts';
import type { Example, Language } from './examples.ts';
import { goExample, javaExample, nodeExample, pythonExample, rustExample } from './examples.ts';
import {
  curlProgram,
  dockerPrograms,
  envoyProxy,
  goClient,
  javaClient,
  nginxProgram,
  opensslProgram,
  podmanPrograms,
  pythonClient,
  rustClient,
} from './toolchains.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** By what the programs are of. */
    equipment: Readonly<
      Record<
        'curl' | 'docker' | 'envoy' | 'go' | 'java' | 'nginx' | 'openssl' | 'podman' | 'python' | 'rust',
        Equipment
      >
    >;
    /** The programs of `deploy/examples/`. */
    examples: Readonly<Record<Language, Example>>;
  }
}

/** Builds once, for all files, whatever this machine can build. What it cannot is for `equipped` to tell. */
export default async function setup({ provide }: TestProject): Promise<() => void> {
  forgetRun();
  const directory = mkdtempSync(join(tmpdir(), 'mayfly-interop-'));
  // Programs in it are run as other users too.
  chmodSync(directory, 0o755);
  const [curl, docker, envoy, go, java, nginx, openssl, podman, python, rust] = await Promise.all([
    curlProgram(),
    dockerPrograms(),
    envoyProxy(directory),
    goClient(directory),
    javaClient(directory),
    nginxProgram(),
    opensslProgram(),
    podmanPrograms(),
    pythonClient(),
    rustClient(),
  ]);
  const equipment = { curl, docker, envoy, go, java, nginx, openssl, podman, python, rust };
  for (const [name, of] of Object.entries(equipment)) {
    if (of.kind === 'missing') console.warn(`no tests with ${name}: ${of.reason}`);
  }
  provide('equipment', equipment);
  // After the clients: what both are built of is then there already.
  const [goPair, javaPair, nodePair, pythonPair, rustPair] = await Promise.all([
    goExample(directory),
    javaExample(directory),
    nodeExample(directory),
    pythonExample(),
    rustExample(),
  ]);
  provide('examples', { go: goPair, java: javaPair, node: nodePair, python: pythonPair, rust: rustPair });
  return () => rmSync(directory, { recursive: true, force: true });
}
