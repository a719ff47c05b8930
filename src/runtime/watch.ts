// Watching a composition's files: which units a changed file touches, by following the modules' own imports.
import { type FSWatcher, watch as watchFolder } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { dirname, relative, resolve, sep } from 'node:path'
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

/**
 * Calls with the files that changed below a folder, once they have settled. Call the result to stop.
 * Folders are watched and not files: what is saved by renaming another file over it (`sed -i`, most editors) is a new
 * file, of which a watch over the old one hears nothing.
 */
export function watchFiles(folder: string, onChange: (files: ReadonlySet<string>) => void): () => void {
  const watchers = new Map<string, FSWatcher>()
  let changed = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  const forget = (path: string) => {
    for (const [watched, watcher] of watchers) {
      if (watched !== path && !watched.startsWith(path + sep)) continue
      watcher.close()
      watchers.delete(watched)
    }
  }
  const heard = (path: string) => {
    if (stopped || ignored.test(relative(folder, path))) return
    changed.add(path)
    clearTimeout(timer)
    timer = setTimeout(() => {
      const files = changed
      changed = new Set()
      onChange(files)
    }, settleMs)
    if (path === folder) return
    forget(path) // when it was a folder, it may be another one now
    void watchBelow(path, true)
  }
  const watchBelow = async (path: string, isNew: boolean): Promise<void> => {
    if (stopped || watchers.has(path) || ignored.test(relative(folder, path))) return
    if (!(await stat(path).catch(() => undefined))?.isDirectory() || stopped || watchers.has(path)) return
    try {
      const watcher = watchFolder(path, (_event, name) => heard(name === null ? path : resolve(path, name)))
      watcher.on('error', () => forget(path)) // it was removed
      watchers.set(path, watcher)
    } catch {
      return // gone again
    }
    for (const entry of await readdir(path, { withFileTypes: true }).catch(() => [])) {
      const inside = resolve(path, entry.name)
      if (entry.isDirectory()) await watchBelow(inside, isNew)
      else if (isNew) heard(inside) // made before anybody watched
    }
  }
  void watchBelow(folder, false)
  return () => {
    stopped = true
    clearTimeout(timer)
    forget(folder)
  }
}
