// Reading a stream by pull: at most `maxPending` messages are here unreleased, so a slow reader never fills its memory
// (the client library's consume() asks for more as messages arrive, not as they are handled).
import { createInbox, type Msg } from '@nats-io/nats-core'
import { backoff } from '../backoff.ts'
import type { Bus, BusSubscription } from '../bus.ts'
import { now } from '../clock.ts'
import type { MyelinError } from '../errors.ts'
import { readHeaders } from '../headers.ts'
import { sleep } from '../timer.ts'
import { apiFailure, manager } from './api.ts'
import type { StreamGap } from './identity.ts'
import { StreamMessage } from './message.ts'
import { ReaderPlace } from './place.ts'

/** Where to begin: the first message kept, only new ones, after a sequence, or at a time (unix ms). */
export type StartPosition =
  | 'start'
  | 'new'
  | 'last-per-subject'
  | { readonly sequence: number }
  | { readonly timeMs: number }

/** A place that the server keeps for all who read under one name. */
export interface DurableOptions {
  readonly name: string
  readonly ackWaitMs: number
  /** Deliveries before the server gives up; -1 for no end. */
  readonly maxDeliver?: number
  readonly maxAckPending?: number
  /** Removed by the server after this long without a reader. */
  readonly inactiveMs?: number
}

/** What {@link consume} reads of a stream, from where on, and how much of it ahead. */
export interface ReaderOptions {
  readonly stream: string
  readonly subjects?: readonly string[]
  /** Messages received and not yet released; the bound of this reader's memory. Default 1,000. */
  readonly maxPending?: number
  /** Durable: the server keeps the position, every message must be acknowledged. Absent: ordered, kept by the reader. */
  readonly durable?: DurableOptions
  /** For a durable that exists already, its stored position wins. */
  readonly from?: StartPosition
  /**
   * Called in order; return quickly. Call `release()` once per message when it is handled. What it throws, or its promise
   * is rejected with, is reported on the bus; the message is released, and for a durable it is delivered again.
   */
  readonly onMessage: (message: StreamMessage) => unknown
  /** Called whenever the reader's place at the server was made, at first and after each loss, with how much lies ahead. */
  readonly onOpened?: (pending: number) => void
  /** Called when reading cannot go on (the stream is gone, permission…); waits and tries again by itself before that. */
  readonly onError?: (error: MyelinError) => void
  /**
   * Called when the stream turns out to be another, or to end before what was read; then the reader goes on with what
   * the stream has now, unless it is stopped in here. The bus tells it as an event `stream-gap` as well.
   */
  readonly onGap?: (gap: StreamGap) => void
}

const nanos = 1_000_000
const pullExpiresMs = 20_000
const heartbeatMs = 2_000
/** Of a message whose handler failed. */
const failedAgainMs = 1_000
/** A reader that shares its durable asks for the place of all every so many heartbeats. */
const floorBeats = 3

/**
 * A bounded, self-healing pull consumer. Ordered readers notice gaps (consumer sequence) and start again from the last
 * message they handed out: each message once, in order. Durable readers get at-least-once with acknowledgements.
 * Source: ADR-13 (pull consumers), ADR-15 (acknowledgements), ADR-17 (ordered consumers).
 */
export class StreamReader {
  readonly #bus: Bus
  readonly #options: ReaderOptions
  #maxPending: number
  readonly #place: ReaderPlace
  #inbox = ''
  #subscription: BusSubscription | undefined
  #asked = 0 // messages asked for and not yet received
  #held = 0 // received and not yet released
  #beats = 0
  #consumerSequence = 0
  #lastHeard = 0
  #stopped = false
  #paused = false
  #opening = false
  #watchdog: NodeJS.Timeout | undefined
  #stopWatching: (() => void) | undefined

  /** Use {@link consume}. */
  constructor(bus: Bus, options: ReaderOptions) {
    this.#bus = bus
    this.#options = options
    this.#maxPending = options.maxPending ?? 1_000
    this.#place = new ReaderPlace(bus, options, (gap) => {
      bus.emit({ type: 'stream-gap', ...gap })
      if (options.onGap) bus.guarded(() => options.onGap?.(gap), `onGap of stream ${options.stream}`)
      return !this.#stopped
    })
  }

  /** The sequence of the last message handed out. */
  get lastSequence(): number | undefined {
    return this.#place.lastSequence
  }
  /** Messages received and not yet released. */
  get held(): number {
    return this.#held
  }

  /** Changes how many messages may be here unreleased. */
  set maxPending(count: number) {
    this.#maxPending = count
  }

  /** Gives back room for `count` handled messages. */
  release(count = 1): void {
    this.#held = Math.max(0, this.#held - count)
    // ask in chunks: one request per half of the window
    if (this.#asked + this.#held <= this.#maxPending / 2) this.#pull()
  }

  /** Stops asking for more; what was asked for still comes. */
  pause(): void {
    this.#paused = true
  }
  resume(): void {
    this.#paused = false
    this.#pull()
  }

  /** No more messages after this resolves. Held ones may still be acknowledged. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    clearInterval(this.#watchdog)
    this.#stopWatching?.()
    // what is on its way to a durable reader goes back at once, instead of waiting out its lease; see #receive
    if (this.#options.durable && this.#bus.connected) await this.#subscription?.drain().catch(() => undefined)
    else this.#subscription?.unsubscribe()
    if (!this.#opening) await this.#forget()
  }

  /** Removes a consumer that is of use to nobody else. */
  async #forget(): Promise<void> {
    const { consumer } = this.#place
    if (this.#options.durable || consumer === '' || !this.#bus.connected) return
    const { consumers } = await manager(this.#bus)
    await consumers.delete(this.#options.stream, consumer).catch(() => undefined) // it expires by itself
  }

  /** @internal */
  async open(): Promise<void> {
    await this.#ensure()
    this.#listen()
    this.#options.onOpened?.(this.#place.ahead)
    this.#pull()
    this.#stopWatching = this.#bus.on((event) => {
      if (event.type === 'reconnected') void this.#reopen()
    })
    this.#watchdog = setInterval(() => {
      // the server sends a heartbeat on every idle pull; three missed ones mean that the pull or the consumer is gone
      if (this.#asked > 0 && this.#bus.connected && now() - this.#lastHeard > 3 * heartbeatMs) void this.#reopen()
      this.#beats += 1
      if (this.#bus.connected && this.#beats % floorBeats === 0) void this.#place.learn()
    }, heartbeatMs)
    this.#watchdog.unref()
  }

  async #ensure(): Promise<void> {
    await this.#place.ensure()
    this.#consumerSequence = 0
  }

  #listen(): void {
    this.#subscription?.unsubscribe()
    this.#inbox = createInbox(this.#bus.limits.inboxPrefix)
    this.#asked = 0
    this.#lastHeard = now()
    const inbox = this.#inbox
    this.#subscription = this.#bus.subscribe(inbox, (message) => {
      if (inbox === this.#inbox) this.#receive(message)
    })
  }

  #pull(): void {
    if (this.#stopped || this.#paused || this.#opening || !this.#bus.connected) return
    const batch = this.#maxPending - this.#asked - this.#held
    if (batch <= 0) return
    this.#asked += batch
    const request = { batch, expires: pullExpiresMs * nanos, idle_heartbeat: heartbeatMs * nanos }
    this.#bus.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${this.#options.stream}.${this.#place.consumer}`,
      Buffer.from(JSON.stringify(request)),
      '',
      this.#inbox,
    )
  }

  #receive(message: Msg): void {
    if (message.subject === this.#inbox) {
      this.#status(message)
      return
    }
    const { durable } = this.#options
    const delivered = new StreamMessage(message, durable ? this.#place.floor : undefined)
    if (delivered.consumerSequence === 0) return // not from a consumer: somebody wrote into the inbox
    this.#lastHeard = now()
    if (this.#stopped) {
      if (durable) delivered.nak()
      return
    }
    if (this.#asked > 0) this.#asked -= 1
    if (!durable) {
      if (delivered.consumerSequence !== this.#consumerSequence + 1) {
        void this.#reopen() // a message was lost on the way
        return
      }
      this.#consumerSequence += 1
    }
    this.#place.read(delivered.sequence, delivered.timestampMs)
    this.#held += 1
    try {
      const handled = this.#options.onMessage(delivered)
      if (handled instanceof Promise) handled.catch((error) => this.#failed(delivered, error))
    } catch (error) {
      this.#failed(delivered, error)
    }
  }

  /** A handler that failed takes neither the reader with it nor a place in its window. */
  #failed(message: StreamMessage, error: unknown): void {
    this.#bus.report(error, `the reader of stream ${this.#options.stream}`)
    if (this.#options.durable) message.nak(failedAgainMs)
    this.release()
  }

  #status(message: Msg): void {
    if (this.#stopped) return
    const headers = readHeaders(message)
    const { status } = headers
    if (status === undefined) return // not the server's
    this.#lastHeard = now()
    if (status === 100) return // heartbeat
    if (
      status === 503 ||
      status === 404 ||
      (status === 409 && !/batch completed|max/i.test(message.headers?.description ?? ''))
    ) {
      void this.#reopen()
      return
    }
    // 408 and the rest end a pull; they say how much of it was left
    const left = Number(headers.get('Nats-Pending-Messages') ?? this.#asked)
    this.#asked = Math.max(0, this.#asked - (left >= 0 ? left : this.#asked))
    if (this.#asked + this.#held <= this.#maxPending / 2) this.#pull()
  }

  async #reopen(): Promise<void> {
    if (this.#opening || this.#stopped) return
    this.#opening = true
    this.#subscription?.unsubscribe()
    this.#inbox = ''
    const nextMs = backoff(50, 2_000)
    while (!this.#stopped) {
      const waitMs = nextMs()
      try {
        await this.#ensure()
        break
      } catch (error) {
        const mapped = apiFailure(error, `reading stream ${this.#options.stream}`)
        if (waitMs > 1_000)
          this.#bus.guarded(() => this.#options.onError?.(mapped), `onError of ${this.#options.stream}`)
        await sleep(waitMs)
      }
    }
    this.#opening = false
    if (this.#stopped) return void this.#forget()
    this.#listen()
    this.#options.onOpened?.(this.#place.ahead)
    this.#pull()
  }
}

/**
 * Starts reading a stream.
 * @throws MyelinError INVALID_OPTION, STREAM_NOT_FOUND, JETSTREAM_DISABLED, PERMISSION_DENIED
 * @example
 * const reader = await consume(bus, {
 *   stream: 'ORDERS',
 *   onMessage: ({ sequence, data }) => {
 *     console.log(sequence, JSON.parse(data.toString()))
 *     reader.release() // one more may come
 *   },
 * })
 * await reader.stop()
 */
export async function consume(bus: Bus, options: ReaderOptions): Promise<StreamReader> {
  const reader = new StreamReader(bus, options)
  try {
    await reader.open()
  } catch (error) {
    await reader.stop()
    throw apiFailure(error, `reading stream ${options.stream}`)
  }
  return reader
}
