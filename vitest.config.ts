import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// commands and units in processes of their own start in half the time when they need not be compiled anew
const compileCache = fileURLToPath(new URL('node_modules/.cache/compile', import.meta.url))

export default defineConfig({
  // tests run the sources: the package's own imports ('myelin/bus') resolve to src through this condition
  ssr: { resolve: { conditions: ['myelin-source'] } },
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/**/*.test.ts'],
    env: { MYELIN_LOG: 'fatal', NODE_COMPILE_CACHE: compileCache },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    // many tests wait for real processes, and a machine that others use as well is late now and then; a second failure counts
    retry: process.env.CI ? 1 : 0,
  },
})
