// What an operator remembers by key: bounded in number, and told to checkpoints key by key.
import { failure } from '../../bus/internal.ts'
import { subjectToken } from '../../contract/internal.ts'
import type { Dataflow, StateRecord } from '../dataflow.ts'

/** How an entry is written into a checkpoint and read again: plain JSON behind its key. */
export interface EntryForm<Entry> {
  save(entry: Entry): readonly unknown[]
  load(saved: readonly unknown[]): Entry
}

// records: [key, …entry]; [key]: it is gone
export class KeyedState<Entry> {
  readonly #dataflow: Dataflow
  readonly #what: string
  readonly #form: EntryForm<Entry>
  readonly #entries = new Map<string, Entry>()
  readonly #changed = new Set<string>()

  /** @param what how messages call the operator: "sessions have 10 keys" */
  constructor(dataflow: Dataflow, what: string, form: EntryForm<Entry>) {
    this.#dataflow = dataflow
    this.#what = what
    this.#form = form
  }

  get size(): number {
    return this.#entries.size
  }
  get(key: string): Entry | undefined {
    return this.#entries.get(key)
  }
  entries(): IterableIterator<[key: string, entry: Entry]> {
    return this.#entries.entries()
  }

  /** Whether there is room for a key. @throws MyelinError INVALID_INPUT, WRONG_PARTITION, TOO_MANY_KEYS */
  admit(key: string): void {
    if (this.#entries.has(key)) return
    subjectToken(key, 'keyBy')
    this.#dataflow.host.ownKey?.(key)
    if (this.#entries.size >= this.#dataflow.maxKeys) {
      throw failure(
        'TOO_MANY_KEYS',
        `${this.#what} have ${this.#entries.size} keys, which is the limit; "${key}" is left out`,
      )
    }
  }

  set(key: string, entry: Entry): void {
    this.#entries.set(key, entry)
    this.#changed.add(key)
  }

  /** Its entry is another one inside. */
  touch(key: string): void {
    this.#changed.add(key)
  }

  delete(key: string): void {
    this.#entries.delete(key)
    this.#changed.add(key)
  }

  *save(everything: boolean): Generator<StateRecord> {
    for (const key of everything ? this.#entries.keys() : this.#changed) {
      const entry = this.#entries.get(key)
      yield entry === undefined ? [key] : [key, ...this.#form.save(entry)]
    }
    this.#changed.clear()
  }

  restore([key, ...saved]: StateRecord): void {
    if (saved.length === 0) this.#entries.delete(key as string)
    else this.#entries.set(key as string, this.#form.load(saved))
  }
}
