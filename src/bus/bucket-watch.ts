// The watch over a bucket: what there is, a mark when that has been told, then every change; also of a bucket that was
// removed and made again.
import type { Bucket, BucketEntry } from './bucket.ts'
import type { Bus } from './bus.ts'
import { failure, MyelinError } from './errors.ts'
import { apiFailure } from './jetstream/api.ts'
import type { StreamMessage } from './jetstream/message.ts'
import { consume, type StreamReader } from './jetstream/reader.ts'
import { streamInfo } from './jetstream/streams.ts'

const retryMs = 500

export class BucketWatch<Value> {
  readonly #bus: Bus
  readonly #bucket: Bucket<Value>
  readonly #filter: string
  readonly #onEntry: (entry: BucketEntry<Value>) => void
  readonly #onError: (error: MyelinError) => void
  readonly #ready = Promise.withResolvers<void>()
  /** Keys that were told, to tell those that a new bucket does not have as gone. */
  #known = new Set<string>()
  #reader: StreamReader | undefined
  /** When the stream that is read was made. */
  #made = ''
  #restarting = false
  #stopped = false

  constructor(
    bus: Bus,
    bucket: Bucket<Value>,
    filter: string,
    onEntry: (entry: BucketEntry<Value>) => void,
    onError: (error: MyelinError) => void,
  ) {
    this.#bus = bus
    this.#bucket = bucket
    this.#filter = filter
    this.#onEntry = onEntry
    this.#onError = onError
  }

  /** Resolves when what there is has been told. */
  async open(): Promise<void> {
    await this.#start()
    void this.#bus.closed().then(() => {
      this.#ready.reject(failure('CLOSED', `the connection closed before bucket ${this.#bucket.name} was read`))
      this.#ready.promise.catch(() => undefined)
    })
    await this.#ready.promise
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#ready.resolve()
    await this.#reader?.stop()
  }

  async #start(): Promise<void> {
    this.#made = (await streamInfo(this.#bus, this.#bucket.stream))?.created ?? ''
    const before = this.#known
    this.#known = new Set()
    let opened = false
    const started = () => {
      for (const key of before) if (!this.#known.has(key)) this.#gone(key)
      before.clear()
      this.#ready.resolve()
    }
    this.#reader = await consume(this.#bus, {
      stream: this.#bucket.stream,
      subjects: [this.#filter],
      from: 'last-per-subject',
      maxPending: 1_000,
      onOpened: (pending) => {
        if (opened) void this.#look()
        opened = true
        if (pending === 0) started()
      },
      onMessage: (message) => {
        this.#reader?.release()
        this.#heard(message)
        if (message.pending === 0) started()
      },
      onError: (error) => void this.#look(error),
    })
  }

  #heard(message: StreamMessage): void {
    if (this.#stopped) return
    const { headers } = message
    const entry = this.#bucket.read({
      subject: message.subject,
      data: message.data,
      sequence: message.sequence,
      timestampMs: message.timestampMs,
      header: (name) => headers.get(name) ?? [],
    })
    if (entry.value === undefined) this.#known.delete(entry.key)
    else this.#known.add(entry.key)
    this.#emit(entry)
  }

  #gone(key: string): void {
    this.#emit({ key, value: undefined, revision: 0, timestampMs: 0 })
  }

  #emit(entry: BucketEntry<Value>): void {
    try {
      this.#onEntry(entry)
    } catch (error) {
      this.#onError(error instanceof MyelinError ? error : failure('INTERNAL', String(error), { cause: error }))
    }
  }

  /** The reader had to begin anew, or cannot: is it still the same bucket? */
  async #look(error?: MyelinError): Promise<void> {
    if (this.#restarting || this.#stopped) return
    this.#restarting = true
    for (let warned = false; !this.#stopped && !this.#bus.nats.isClosed(); ) {
      try {
        const info = await streamInfo(this.#bus, this.#bucket.stream)
        if (info?.created === this.#made) break
        await this.#bucket.ensure()
        await this.#reader?.stop()
        if (this.#stopped) break
        await this.#start()
        break
      } catch (cause) {
        if (!warned) this.#onError(apiFailure(cause ?? error, `bucket ${this.#bucket.name}`))
        warned = true
        await new Promise((resolve) => setTimeout(resolve, retryMs))
      }
    }
    this.#restarting = false
    if (this.#stopped) await this.#reader?.stop()
  }
}
