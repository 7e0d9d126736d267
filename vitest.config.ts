import { defineConfig } from 'vitest/config';

// `core` needs npm alone; `wire` needs what `test/tools/bring.ts` has brought: real servers, and real faults for them.
const faults = ['test/faults/**/*.test.ts'];
const wire = [
  'test/wire/**/*.test.ts',
  'test/redis/**/*.test.ts',
  'test/tools/**/*.test.ts',
  'test/**/*-build.test.ts',
];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'core',
          include: ['test/**/*.test.ts'],
          exclude: [...wire, ...faults],
          testTimeout: 20_000,
        },
      },
      { test: { name: 'wire', include: wire, testTimeout: 60_000, hookTimeout: 60_000 } },
      // What a fault may cost in time is asserted here, so that nothing else runs beside them.
      {
        test: {
          name: 'faults',
          include: faults,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
