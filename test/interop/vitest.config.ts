import { defineConfig } from 'vitest/config';

const ROOT = new URL('.', import.meta.url).pathname;
const DOCUMENT = 'compatibility.test.ts';

export default defineConfig({
  test: {
    root: ROOT,
    // Rotations and backoffs are waited for, which costs time and no processor.
    maxWorkers: 4,
    projects: [
      {
        test: {
          name: 'consumers',
          root: ROOT,
          include: ['*.test.ts'],
          exclude: [DOCUMENT],
          globalSetup: './setup.ts',
          setupFiles: './evidence/of-file.ts',
          pool: 'forks',
          testTimeout: 60_000,
          hookTimeout: 30_000,
        },
      },
      // Of no client: nothing has to be built for it. After the others, since on a busy machine not all is well, which is told.
      {
        test: {
          name: 'monitoring',
          root: ROOT,
          include: ['monitoring/*.test.ts'],
          pool: 'forks',
          testTimeout: 60_000,
          hookTimeout: 30_000,
          sequence: { groupOrder: 1 },
        },
      },
      // One at a time, since a machine that is emulated takes all processors; after the others, which need no packages for it.
      {
        test: {
          name: 'guest',
          root: ROOT,
          include: ['guest/*.test.ts'],
          globalSetup: './guest/setup.ts',
          pool: 'forks',
          testTimeout: 900_000,
          hookTimeout: 900_000,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
      // Once all others are through.
      { test: { name: 'document', root: ROOT, include: [DOCUMENT], pool: 'forks', sequence: { groupOrder: 3 } } },
    ],
  },
});
