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

  /**
   * The keys whose moment has come, each moment by itself. Do only what is due at that moment, not all that the watermark
   * allows: a key may have moments that are void by now, which a restored program does not have, and the order of rows
   * must not depend on them.
   */
  *due(watermarkMs: number): Generator<Timer> {
    for (let next = this.#queue.peek(); next !== undefined && next.atMs <= watermarkMs; next = this.#queue.peek()) {
      yield this.#queue.pop()!
    }
  }

  clear(): void {
    while (this.#queue.length > 0) this.#queue.pop()
  }
}
