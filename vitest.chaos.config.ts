import { defineConfig } from 'vitest/config'
import base from './vitest.config.ts'

// what takes minutes and kills processes at random: npm run test:chaos
export default defineConfig({
  ...base,
  test: { ...base.test, include: ['test/chaos/*.chaos.ts'], maxWorkers: 1, retry: 0 },
})
