import { defineConfig } from 'vitest/config'
import base from './vitest.config.ts'

// three real servers whose nodes are killed and frozen: npm run test:cluster
export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: ['test/cluster/*.cluster.ts'],
    maxWorkers: 1,
    retry: 0,
    testTimeout: 180_000,
    hookTimeout: 90_000,
  },
})
