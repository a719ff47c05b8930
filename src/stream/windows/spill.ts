// State larger than memory: cells of windows that were not touched for a while, in a temporary SQLite file. It is no
// store: checkpoints hold the same, and the file is gone with its process.
import { createRequire } from 'node:module'
import type { DatabaseSync, StatementSync } from 'node:sqlite'

/** Its keys come out in the order of JavaScript's own comparison of texts, whichever part of them was spilled. */
export class Spill {
  readonly #database: DatabaseSync
  readonly #put: StatementSync
  readonly #get: StatementSync
  readonly #remove: StatementSync
  readonly #removeWindow: StatementSync
  readonly #sorted: StatementSync

  constructor() {
    // loaded when needed: most processors never do
    const { DatabaseSync } = createRequire(import.meta.url)('node:sqlite') as typeof import('node:sqlite')
    this.#database = new DatabaseSync('') // a file that SQLite removes by itself
    // the bytes of UTF-16 in big-endian order compare as JavaScript compares
    this.#database.exec(`
      pragma encoding = 'UTF-16be'; pragma journal_mode = off; pragma synchronous = off;
      create table cell (window integer, key text, states text, pending integer, primary key (window, key)) without rowid`)
    this.#put = this.#database.prepare('insert or replace into cell values (?, ?, ?, ?)')
    this.#get = this.#database.prepare('select states, pending from cell where window = ? and key = ?')
    this.#remove = this.#database.prepare('delete from cell where window = ? and key = ?')
    this.#removeWindow = this.#database.prepare('delete from cell where window = ?')
    this.#sorted = this.#database.prepare('select key, states, pending from cell where window = ? order by key')
  }

  /** Many puts are one transaction. */
  together(work: () => void): void {
    this.#database.exec('begin')
    try {
      work()
    } finally {
      this.#database.exec('commit')
    }
  }

  put(window: number, key: string, states: string, pending: boolean): void {
    this.#put.run(window, key, states, pending ? 1 : 0)
  }

  /** Takes a cell out. */
  take(window: number, key: string): { states: unknown[]; pending: boolean } | undefined {
    const row = this.#get.get(window, key) as { states: string; pending: number } | undefined
    if (!row) return undefined
    this.#remove.run(window, key)
    return { states: JSON.parse(row.states), pending: row.pending === 1 }
  }

  drop(window: number): void {
    this.#removeWindow.run(window)
  }

  /** A window's cells in the order of their keys. */
  *sorted(window: number): Generator<{ key: string; states: unknown[]; pending: boolean }> {
    for (const row of this.#sorted.iterate(window)) {
      const { key, states, pending } = row as { key: string; states: string; pending: number }
      yield { key, states: JSON.parse(states), pending: pending === 1 }
    }
  }

  close(): void {
    this.#database.close()
  }
}
