// Reading a view: the row of a key, all rows, and rows as they change. Nothing is kept here: the view's stream is asked.
import {
  type Bus,
  consume,
  failure,
  latestMessage,
  messageOf,
  type ReaderOptions,
  readSpan,
  type StartPosition,
  type StreamReader,
  toMessage,
} from '../bus/internal.ts'
import { subjectToken } from '../contract/internal.ts'
import type { StreamPosition } from './processed.ts'
import { ensureView, type View, viewSubject } from './view.ts'

/** A row of a view. */
export interface ViewRow<Row> {
  readonly key: string
  readonly row: Row
  /** Where it lies in the view's stream. */
  readonly position: StreamPosition
}

/** @see readView */
export interface ViewReader<Row> extends AsyncDisposable {
  /**
   * The last row of a key, or undefined: there was none, or it has expired. Asks the leader of the view's stream, so that
   * what was stored before is seen, and waits for an election.
   * @throws MyelinError INVALID_INPUT (cannot be a key), MALFORMED_PAYLOAD, PERMISSION_DENIED, DEADLINE_EXCEEDED
   */
  get(key: string, options?: { readonly timeoutMs?: number }): Promise<Row | undefined>
  /**
   * The last row of each key, in memory. Of a view that is too large for that, walk over
   * `changes({ from: 'last-per-subject' })`.
   */
  all(): Promise<Map<string, Row>>
  /**
   * Every row that the view holds now, in the order in which they were written: of a view of windows, each window's. With
   * `key` only of that key. Ends with the last one; at most `maxPending` (default 1,000) are here and not yet taken.
   */
  history(options?: {
    readonly key?: string
    readonly maxPending?: number
  }): AsyncGenerator<ViewRow<Row>, void, undefined>
  /**
   * Rows as they are written, without end. `from`: `'new'` (the default); `'last-per-subject'`, the last row of each key
   * and then what changes, without a gap in between; `'start'`; or where another reader was. At most `maxPending` rows
   * (default 1,000) are here and not yet taken: a slow reader is behind, it loses nothing.
   */
  changes(options?: { readonly from?: StartPosition; readonly maxPending?: number }): ViewChanges<Row>
  /** Ends all that `changes` gave. */
  close(): Promise<void>
}

/** Rows as they change; leaving the loop, or `close()`, ends it. */
export interface ViewChanges<Row> extends AsyncIterableIterator<ViewRow<Row>>, AsyncDisposable {
  /** Resolves when the server knows of the reader: rows that are written from then on are seen. */
  ready(): Promise<void>
  close(): Promise<void>
}

/**
 * Reads a view, of one partition or several, on one server or a cluster. It keeps no copy: `get` asks for the last row of a
 * key, `all` reads the last row of each, `history` reads every row, `changes` follows the stream. A view of windows has a row
 * for each window of a key; the last one that was written is the key's. Rows that were removed or have expired (`maxAge`) are gone from `get`
 * and `all`; that they went is no change. What somebody else wrote there that is not JSON is left out, and reported once as
 * an `error` event of the bus.
 *
 * @example
 * await using delays = readView(bus, view('delays', { key: 'origin', row: DelayHour }))
 * const atlanta = await delays.get('ATL')
 * for await (const { key, row, position } of delays.changes({ from: 'last-per-subject' })) console.log(key, row.mean)
 */
export function readView<Row>(bus: Bus, view: View<Row>): ViewReader<Row> {
  const open = new Set<Changes<Row>>()
  const { name: stream } = view.spec
  const fixed = viewSubject(view.name, '').length
  const keyOf = (subject: string) => subject.slice(fixed)
  let reported = false
  const parse = (subject: string, data: Uint8Array): Row => {
    try {
      return JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString()) as Row
    } catch (cause) {
      const what = `view ${view.name}: what lies there for "${keyOf(subject)}" is no JSON: ${messageOf(cause)}`
      throw failure('MALFORMED_PAYLOAD', what, { cause })
    }
  }
  /** Empty: somebody removed it. */
  const read = (message: { readonly subject: string; readonly data: Uint8Array }): Row | undefined => {
    if (message.data.length === 0) return undefined
    try {
      return parse(message.subject, message.data)
    } catch (error) {
      if (!reported) bus.report(error, `view ${view.name}`)
      reported = true
      return undefined
    }
  }
  const rowOf = (message: Message): ViewRow<Row> | undefined => {
    const row = read(message)
    const { subject, sequence } = message
    return row === undefined ? undefined : { key: keyOf(subject), row, position: { stream, sequence } }
  }
  const close = async () => {
    await Promise.all([...open].map((changes) => changes.close()))
  }
  return {
    async get(key, { timeoutMs = 5_000 } = {}) {
      const subject = viewSubject(view.name, subjectToken(key, `view ${view.name}: key`))
      const found = await latestMessage(bus, stream, subject, { timeoutMs })
      if (!found) return undefined
      const { data } = toMessage(found.message)
      return data.length === 0 ? undefined : parse(subject, data)
    },
    async all() {
      await ensureView(bus, view)
      const rows = new Map<string, Row>()
      const subjects = [viewSubject(view.name, '*')]
      for await (const message of readSpan(bus, stream, { subjects, latest: true })) {
        const row = read(message)
        if (row === undefined) rows.delete(keyOf(message.subject))
        else rows.set(keyOf(message.subject), row)
      }
      return rows
    },
    async *history({ key, maxPending = 1_000 } = {}) {
      await ensureView(bus, view)
      const token = key === undefined ? '*' : subjectToken(key, `view ${view.name}: key`)
      for await (const message of readSpan(bus, stream, { subjects: [viewSubject(view.name, token)], maxPending })) {
        const row = rowOf(message)
        if (row) yield row
      }
    },
    changes({ from = 'new', maxPending = 1_000 } = {}) {
      const options = { stream, subjects: [viewSubject(view.name, '*')], from, maxPending }
      const opening = async (own: Pick<ReaderOptions, 'onMessage' | 'onGap'>) => {
        await ensureView(bus, view)
        return consume(bus, { ...options, ...own })
      }
      const changes = new Changes<Row>(view.name, opening, rowOf, () => open.delete(changes))
      open.add(changes)
      return changes
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

type Message = Parameters<ReaderOptions['onMessage']>[0]

class Changes<Row> implements ViewChanges<Row> {
  readonly #opened: Promise<StreamReader>
  readonly #onClose: () => void
  /** At most as many as the reader may have unreleased. */
  readonly #buffer: ViewRow<Row>[] = []
  readonly #asking: (() => void)[] = []
  #reader: StreamReader | undefined
  #error: unknown
  #closed = false

  constructor(
    view: string,
    open: (own: Pick<ReaderOptions, 'onMessage' | 'onGap'>) => Promise<StreamReader>,
    rowOf: (message: Message) => ViewRow<Row> | undefined,
    onClose: () => void,
  ) {
    this.#onClose = onClose
    this.#opened = open({
      onMessage: (message) => {
        const row = this.#closed ? undefined : rowOf(message)
        if (!row) {
          // what came before the promise of the reader was looked at waits for it
          if (this.#reader) this.#reader.release()
          else void this.#opened.then((reader) => reader.release())
          return
        }
        this.#buffer.push(row)
        this.#asking.shift()?.()
      },
      onGap: ({ reason }) => {
        const what = reason === 'recreated' ? 'was made anew' : 'ends before what was read of it'
        this.#fail(failure('STREAM_MISMATCH', `view ${view} ${what}: read it again from its beginning`))
        void this.#reader?.stop()
      },
    })
    this.#opened.then(
      (reader) => {
        this.#reader = reader
        if (this.#closed) void reader.stop()
      },
      (error) => this.#fail(error),
    )
  }

  async ready(): Promise<void> {
    await this.#opened
  }

  async next(): Promise<IteratorResult<ViewRow<Row>>> {
    for (;;) {
      const row = this.#buffer.shift()
      if (row) {
        const reader = this.#reader ?? (await this.#opened)
        reader.release()
        return { done: false, value: row }
      }
      if (this.#error) throw this.#error
      if (this.#closed) return { done: true, value: undefined }
      await new Promise<void>((resolve) => this.#asking.push(resolve))
    }
  }

  async return(): Promise<IteratorResult<ViewRow<Row>>> {
    await this.close()
    return { done: true, value: undefined }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#buffer.length = 0
    this.#onClose()
    this.#wake()
    await this.#reader?.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
  [Symbol.asyncIterator](): this {
    return this
  }

  #fail(error: unknown): void {
    this.#error ??= error
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#asking.splice(0)) wake()
  }
}
