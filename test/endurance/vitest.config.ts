import { defineConfig } from 'vitest/config';

// What takes a minute each, with real agents and hundreds of real processes: one after the other, since each is a load by itself.
export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 120_000,
    hookTimeout: 20_000,
  },
});
