import type { TestProject } from 'vitest/node';
import type { Equipment } from '../equipment.ts';
import { machineParts } from './machine.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A machine to start. */
    guest: Equipment;
  }
}

export default async function setup({ provide }: TestProject): Promise<void> {
  provide('guest', await machineParts());
}
