import { defineConfig } from 'vitest/config'
import base from './vitest.config.ts'

// what the documentation says is typed and run as written, the getting-started page from the packed package in an empty
// folder: npm run test:package
export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: ['test/package/*.package.ts'],
    maxWorkers: 1,
    retry: 0,
    testTimeout: 600_000,
    hookTimeout: 600_000,
  },
})
