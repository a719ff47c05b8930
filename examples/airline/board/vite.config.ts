// Builds the board's page; run by `npm run build`.
import { defineConfig } from 'vite'

export default defineConfig({
  root: `${import.meta.dirname}/web`,
  build: { outDir: '../dist', emptyOutDir: true, chunkSizeWarningLimit: 1_000 },
  // while working on the page: `npx vite -c examples/airline/board/vite.config.ts` beside a running `npm start`
  server: {
    proxy: Object.fromEntries(['/streams', '/speed', '/airports'].map((path) => [path, 'http://127.0.0.1:4280'])),
  },
})
