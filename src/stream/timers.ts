// When keys have something to do in event time: each key's moments in order, those of one moment in the order of keys.
import TinyQueue from 'tinyqueue'

interface Timer {
  readonly atMs: number
  readonly key: string
}

export class Timers {
  readonly #queue = new TinyQueue<Timer>([], (a, b) => a.atMs - b.atMs || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))

  get nextMs(): number {
    return this.#queue.peek()?.atMs ?? Number.POSITIVE_INFINITY
  }

  add(atMs: number, key: string): void {
    this.#queue.push({ atMs, key })
  }

  /** The next key whose moment has come, until there is none. */
  due(watermarkMs: number): string | undefined {
    const next = this.#queue.peek()
    if (next === undefined || next.atMs > watermarkMs) return undefined
    return this.#queue.pop()!.key
  }

  clear(): void {
    while (this.#queue.length > 0) this.#queue.pop()
  }
}
