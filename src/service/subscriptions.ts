// Listening to events as an async iterable, with a bounded buffer in between.
import {
  type Bus,
  consume,
  consumerName,
  ensureOnce,
  failure,
  type HeaderReader,
  MyelinError,
  queueName,
  readEvent,
  readHeaders,
  type StartPosition,
  type StreamGap,
  type StreamReader,
  type StreamSpec,
} from '../bus/internal.ts'
import { isEndOfInput, parse, type Schema } from '../contract/internal.ts'

/** Which events a subscriber gets, and from where on. */
export interface EventSubscribeOptions {
  /**
   * Share the events with all subscribers of this name; durable events then keep the group's position, and all members
   * ask for the same `key`, or none. Absent: get every event.
   */
  group?: string
  /** Where to begin, durable events only. A group that exists goes on where it was. Default: `new`. */
  from?: StartPosition
  /** Only events of this key. */
  key?: string
  /** Events received and not yet handled; a core subscription drops beyond it and says so. Default 1,000. */
  maxPending?: number
  /** How long a group's member may take for one event before another gets it. Default 30 s. */
  leaseMs?: number
  /**
   * Called when the stream was removed and made anew, or ends before what was read (a restored backup): events may be
   * missing. The subscription goes on with what the stream has now.
   */
  onGap?: (gap: StreamGap) => void
}

/** One received event. */
export interface ReceivedEvent<Payload> {
  readonly payload: Payload
  readonly subject: string
  /** The event's identity (`ce-id`), decoded. */
  readonly id: string | undefined
  /** When it happened (`ce-time`), as sent. */
  readonly time: string | undefined
  readonly headers: HeaderReader
  /** Position in the stream; 0 for events that are not durable. */
  readonly sequence: number
  /** Handled, for members of a group; done by itself when the loop asks for the next event. */
  ack(): void
  /** Not handled: deliver it again, after a delay. */
  nak(delayMs?: number): void
}

export interface Subscription<Payload> extends AsyncIterableIterator<ReceivedEvent<Payload>>, AsyncDisposable {
  /** Resolves when the server knows of the subscription: what is published from then on is seen. */
  ready(): Promise<void>
  close(): Promise<void>
  /** Events dropped because the buffer was full (core only), and events that did not fit the schema. */
  readonly dropped: number
  readonly invalid: number
  /** How often the stream turned out to be another, or to end before what was read; see `onGap`. Durable events only. */
  readonly gaps: number
}

interface Source {
  readonly bus: Bus
  readonly where: string
  readonly schema: Schema
  readonly subjects: string
}

type Settle = { ack(): void; nak(delayMs?: number): void }
const nothingToSettle: Settle = { ack: () => undefined, nak: () => undefined }

interface Handle {
  taken(): void
  close(): Promise<void>
}

interface Waiting {
  read(): ReceivedEvent<unknown> | Promise<ReceivedEvent<unknown>>
  readonly settle: Settle
  /** It says that no event follows, and is none. */
  readonly end: boolean
}

class EventQueue implements Subscription<unknown> {
  readonly #source: Source
  readonly #onTaken: () => void
  readonly #onClose: () => Promise<void>
  readonly #opened: Promise<void>
  readonly #settles: boolean
  #buffer: Waiting[] = []
  /** Those who asked for an event before there was one, in the order they asked. */
  #asking: ((waiting: Waiting | undefined) => void)[] = []
  #error: MyelinError | undefined
  #closed = false
  /** What was handed out and not yet settled: one, unless several were asked for at once. */
  #current: ReceivedEvent<unknown>[] = []
  dropped = 0
  invalid = 0
  gaps = 0

  constructor(source: Source, open: (queue: EventQueue) => Promise<Handle>, settles: boolean) {
    this.#source = source
    this.#settles = settles
    const opened = open(this)
    let handle: Handle | undefined
    this.#onTaken = () => {
      if (handle) handle.taken()
      else void opened.then((made) => made.taken()).catch(() => undefined)
    }
    this.#opened = opened.then((made) => {
      handle = made
    })
    this.#opened.catch((error) => this.fail(error))
    // one that cannot be opened now (its server is away) is not waited for
    this.#onClose = async () => {
      if (handle) await handle.close()
      else void opened.then((made) => made.close()).catch(() => undefined)
    }
  }

  get size(): number {
    return this.#buffer.length
  }

  push(headers: HeaderReader, subject: string, data: Uint8Array, sequence: number, settle: Settle): void {
    const waiting = {
      read: () => this.#read(headers, subject, data, sequence, settle),
      settle,
      end: data.length === 0 && isEndOfInput({ data, headers }),
    }
    const asking = this.#asking.shift()
    if (asking) asking(waiting)
    else this.#buffer.push(waiting)
  }

  fail(error: unknown): void {
    this.#error =
      error instanceof MyelinError ? error : failure('INTERNAL', `${this.#source.where}: ${error}`, { cause: error })
    this.#wake()
  }

  ready(): Promise<void> {
    return this.#opened
  }

  async next(): Promise<IteratorResult<ReceivedEvent<unknown>>> {
    // asking for the next event says that the last one was handled
    if (this.#settles && this.#current.length > 0) for (const event of this.#current.splice(0)) event.ack()
    for (;;) {
      const waiting =
        this.#buffer.shift() ??
        (this.#error || this.#closed
          ? undefined
          : await new Promise<Waiting | undefined>((resolve) => {
              this.#asking.push(resolve)
            }))
      if (waiting) {
        this.#onTaken()
        if (waiting.end) {
          waiting.settle.ack()
          continue
        }
        try {
          const event = await waiting.read()
          if (this.#settles) this.#current.push(event)
          return { done: false, value: event }
        } catch {
          waiting.settle.ack()
          this.invalid += 1 // counted, acknowledged, and skipped: a service's `on` keeps such events as dead letters
          continue
        }
      }
      if (this.#error) throw this.#error
      if (this.#closed) return { done: true, value: undefined }
    }
  }

  async return(): Promise<IteratorResult<ReceivedEvent<unknown>>> {
    const current = this.#current.splice(0)
    await this.close()
    // left in the middle: somebody else should get it
    if (this.#settles && this.#source.bus.connected) for (const event of current) event.nak()
    return { done: true, value: undefined }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const left = this.#buffer
    this.#buffer = []
    this.#wake()
    await this.#onClose()
    // given back only now: before, the server would hand it to this same reader
    if (this.#settles && this.#source.bus.connected) for (const { settle } of left) settle.nak()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
  [Symbol.asyncIterator](): this {
    return this
  }

  #wake(): void {
    for (const asking of this.#asking.splice(0)) asking(undefined)
  }

  #read(
    headers: HeaderReader,
    subject: string,
    data: Uint8Array,
    sequence: number,
    settle: Settle,
  ): ReceivedEvent<unknown> | Promise<ReceivedEvent<unknown>> {
    const event = readEvent(headers, data)
    const make = (payload: unknown): ReceivedEvent<unknown> => ({
      payload,
      subject,
      headers,
      sequence,
      id: event.id,
      time: event.time,
      ack: settle.ack,
      nak: settle.nak,
    })
    const payload = parse(this.#source.schema, event.payload, 'INVALID_INPUT', this.#source.where)
    return payload instanceof Promise ? payload.then(make) : make(payload)
  }
}

/** Core events: at most once; a full buffer drops what comes and says so on the bus. */
export function subscribeCore(source: Source, options: EventSubscribeOptions): Subscription<unknown> {
  const limit = options.maxPending ?? 1_000
  return new EventQueue(
    source,
    async (queue) => {
      const group = options.group === undefined ? {} : { queue: queueName(options.group, `${source.where}: group`) }
      const subscription = source.bus.subscribe(
        source.subjects,
        (message) => {
          if (queue.size >= limit) {
            queue.dropped += 1
            if (queue.dropped === 1 || queue.dropped % 10_000 === 0) {
              source.bus.emit({ type: 'slow-consumer', subject: source.subjects, dropped: queue.dropped })
            }
            return
          }
          queue.push(readHeaders(message), message.subject, message.data, 0, nothingToSettle)
        },
        group,
      )
      await source.bus.flush()
      return { taken: () => undefined, close: async () => subscription.unsubscribe() }
    },
    false,
  )
}

/** What waiting does not cure. */
const lasting: ReadonlySet<string> = new Set(['STREAM_NOT_FOUND', 'PERMISSION_DENIED', 'INVALID_OPTION', 'CLOSED'])

/** Durable events: with `group` at least once, shared by the group; without, every event in order, from a position. */
export function subscribeDurable(
  source: Source,
  spec: StreamSpec,
  options: EventSubscribeOptions,
): Subscription<unknown> {
  const group = options.group
  return new EventQueue(
    source,
    async (queue) => {
      if (group !== undefined) consumerName(group, `${source.where}: group`)
      await ensureOnce(source.bus, spec)
      const reader: StreamReader = await consume(source.bus, {
        stream: spec.name,
        subjects: [source.subjects],
        maxPending: options.maxPending ?? 1_000,
        from: options.from ?? 'new',
        ...(group === undefined ? {} : { durable: { name: group, ackWaitMs: options.leaseMs ?? 30_000 } }),
        onMessage: (message) =>
          queue.push(message.headers, message.subject, message.data, message.sequence, {
            ack: () => message.ack(),
            nak: (delayMs) => message.nak(delayMs),
          }),
        // a server that is away or elects a leader comes back
        onError: (error) => {
          if (lasting.has(error.code)) queue.fail(error)
        },
        onGap: (gap) => {
          queue.gaps += 1
          options.onGap?.(gap)
        },
      })
      return { taken: () => reader.release(), close: () => reader.stop() }
    },
    group !== undefined,
  )
}
