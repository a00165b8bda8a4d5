import type { TestProject } from 'vitest/node';
import { type Equipment, ROOT } from '../equipment.ts';
import { agentImageFile, helmProgram, manifestDecoder, nodeTools } from './toolchain.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** By what it is for. */
    kubernetes: Readonly<Record<'helm' | 'manifests' | 'node' | 'agent', Equipment>>;
  }
}

/** Builds once, for all files, whatever this machine can build. One after the other: each takes all processors there are. */
export default async function setup({ provide }: TestProject): Promise<void> {
  const helm = await helmProgram();
  const manifests = await manifestDecoder();
  const node = ROOT.kind === 'ready' ? await nodeTools() : ROOT;
  const agent = ROOT.kind === 'ready' ? await agentImageFile() : ROOT;
  provide('kubernetes', { helm, manifests, node, agent });
}
