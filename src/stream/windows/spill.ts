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
  readonly #removePane: StatementSync
  readonly #sorted: StatementSync

  constructor() {
    // loaded when needed: most processors never do
    const { DatabaseSync } = createRequire(import.meta.url)('node:sqlite') as typeof import('node:sqlite')
    this.#database = new DatabaseSync('') // a file that SQLite removes by itself
    // the bytes of UTF-16 in big-endian order compare as JavaScript compares
    this.#database.exec(`
      pragma encoding = 'UTF-16be'; pragma journal_mode = off; pragma synchronous = off;
      create table cell (pane integer, key text, states text, untold integer, primary key (pane, key)) without rowid`)
    this.#put = this.#database.prepare('insert or replace into cell values (?, ?, ?, ?)')
    this.#get = this.#database.prepare('select states, untold from cell where pane = ? and key = ?')
    this.#remove = this.#database.prepare('delete from cell where pane = ? and key = ?')
    this.#removePane = this.#database.prepare('delete from cell where pane = ?')
    this.#sorted = this.#database.prepare('select key, states, untold from cell where pane = ? order by key')
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

  put(pane: number, key: string, states: string, untold: boolean): void {
    this.#put.run(pane, key, states, untold ? 1 : 0)
  }

  /** Takes a cell out. */
  take(pane: number, key: string): { states: unknown[]; untold: boolean } | undefined {
    const row = this.#get.get(pane, key) as { states: string; untold: number } | undefined
    if (!row) return undefined
    this.#remove.run(pane, key)
    return { states: JSON.parse(row.states), untold: row.untold === 1 }
  }

  drop(pane: number): void {
    this.#removePane.run(pane)
  }

  /** A pane's cells in the order of their keys. */
  *sorted(pane: number): Generator<{ key: string; states: unknown[]; untold: boolean }> {
    for (const row of this.#sorted.iterate(pane)) {
      const { key, states, untold } = row as { key: string; states: string; untold: number }
      yield { key, states: JSON.parse(states), untold: untold === 1 }
    }
  }

  close(): void {
    this.#database.close()
  }
}
