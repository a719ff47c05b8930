// Watching a composition's files: which units a changed file touches, by following the modules' own imports.
import { watch as watchFolder } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { LoadedComposition } from './load.ts'

const settleMs = 150
const ignored = /(^|[\\/])(node_modules|\.git|\.myelin|dist)([\\/]|$)/

/** Units whose module, or anything it imports by a relative path, is among the changed files. */
export async function touchedUnits(loaded: LoadedComposition, changed: ReadonlySet<string>): Promise<string[]> {
  const touched: string[] = []
  for (const [name, { use }] of Object.entries(loaded.composition.units)) {
    if (typeof use !== 'string') continue
    const files = await withImports(resolve(loaded.folder, use))
    if ([...files].some((file) => changed.has(file))) touched.push(name)
  }
  return touched
}

/** A module and what it imports by relative paths, all the way down. */
async function withImports(file: string, seen = new Set<string>()): Promise<Set<string>> {
  if (seen.has(file)) return seen
  seen.add(file)
  const text = await readFile(file, 'utf8').catch(() => '')
  for (const [, path] of text.matchAll(/(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g)) {
    await withImports(resolve(dirname(file), path!), seen)
  }
  return seen
}

/** Calls with the files that changed below a folder, once they have settled. Call the result to stop. */
export function watchFiles(folder: string, onChange: (files: ReadonlySet<string>) => void): () => void {
  let changed = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  const watcher = watchFolder(folder, { recursive: true }, (_event, name) => {
    if (name === null || ignored.test(name)) return
    changed.add(resolve(folder, name))
    clearTimeout(timer)
    timer = setTimeout(() => {
      const files = changed
      changed = new Set()
      onChange(files)
    }, settleMs)
  })
  return () => {
    clearTimeout(timer)
    watcher.close()
  }
}
