// Writes the reference pages that come from the code itself. Run: node --conditions=myelin-source scripts/reference.ts
// A test fails when a page is not what this would write.
import { mkdirSync, writeFileSync } from 'node:fs'
import { pages } from './pages.ts'

mkdirSync(new URL('../docs/reference/', import.meta.url), { recursive: true })
for (const [file, text] of Object.entries(await pages()))
  writeFileSync(new URL(`../docs/${file}`, import.meta.url), text)
