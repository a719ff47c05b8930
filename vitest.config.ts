import { defineConfig } from 'vitest/config'

export default defineConfig({
  // tests run the sources: the package's own imports ('myelin/bus') resolve to src through this condition
  ssr: { resolve: { conditions: ['myelin-source'] } },
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/**/*.test.ts'],
    env: { MYELIN_LOG: 'fatal' },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
})
