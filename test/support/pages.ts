// The blocks of a page: what a reader types and the files that a reader writes.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Block {
  /** ts, json, sh, … and what follows it: `sh up`. */
  readonly info: string
  readonly text: string
  /** What its first line says where it belongs: `// units/shop.ts`. */
  readonly file?: string
  /** Where it begins in the page. */
  readonly line: number
}

const root = join(import.meta.dirname, '../..')

/** All blocks of a page of this repository, in their order. */
export function blocksOf(page: string): Block[] {
  const text = readFileSync(join(root, page), 'utf8')
  return [...text.matchAll(/^```(\S.*)\n([\s\S]*?)^```$/gm)].map(({ 1: info = '', 2: body = '', index }) => {
    const line = text.slice(0, index).split('\n').length + 1
    const [, file] = /^\/\/ ([\w./-]+\.\w+)\n/.exec(body) ?? []
    // JSON has no comments
    const own = file?.endsWith('.json') ? body.slice(body.indexOf('\n') + 1) : body
    return { info, text: own, line, ...(file ? { file } : {}) }
  })
}
