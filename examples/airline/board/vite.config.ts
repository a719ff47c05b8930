// Builds the board's page; run by `npm run build`.
import { defaultClientConditions, defineConfig } from 'vite'

export default defineConfig({
  root: `${import.meta.dirname}/web`,
  // the package's own sources, so that the page needs no build of the library before it
  resolve: { conditions: ['myelin-source', ...defaultClientConditions] },
  build: { outDir: '../dist', emptyOutDir: true, chunkSizeWarningLimit: 1_000 },
  // while working on the page: `npx vite -c examples/airline/board/vite.config.ts` beside a running `npm start`
  server: {
    proxy: Object.fromEntries(['/streams', '/speed', '/airports'].map((path) => [path, 'http://127.0.0.1:4280'])),
  },
})
