import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { pages } from '../scripts/pages.ts'

it('the generated pages are what the code says; `node --conditions=myelin-source scripts/reference.ts` writes them', async () => {
  for (const [file, text] of Object.entries(await pages())) {
    expect(readFileSync(new URL(`../docs/${file}`, import.meta.url), 'utf8'), file).toBe(text)
  }
})
