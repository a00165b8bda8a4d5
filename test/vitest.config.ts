import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['unit/**/*.test.ts', 'scenario/**/*.test.ts'],
    pool: 'forks',
    // One more than the processors of a small machine: agents and clients are waited for.
    maxWorkers: 3,
    testTimeout: 20_000,
    hookTimeout: 20_000,
  },
});
