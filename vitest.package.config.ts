import { defineConfig } from 'vitest/config'
import base from './vitest.config.ts'

// the packed package in empty folders, as strangers get it: npm run test:package
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
