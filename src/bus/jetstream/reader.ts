// Reading a stream by pull: at most `maxPending` messages are here unreleased, so a slow reader never fills its memory
// (the client library's consume() asks for more as messages arrive, not as they are handled).
import type { ConsumerInfo } from '@nats-io/jetstream'
import { createInbox, type Msg, nuid } from '@nats-io/nats-core'
import type { Bus, BusSubscription } from '../bus.ts'
import { now } from '../clock.ts'
import type { MyelinError } from '../errors.ts'
import { readHeaders } from '../headers.ts'
import { AckFloor } from './ack-floor.ts'
import { apiFailure, manager } from './api.ts'
import { consumerInfo, durableConfig, joinDurable, orderedConfig } from './consumer.ts'
import { compareStream, type StreamGap, type StreamIdentity, type StreamPlace, streamIdentity } from './identity.ts'
import { StreamMessage } from './message.ts'

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
  #consumer = ''
  #inbox = ''
  #subscription: BusSubscription | undefined
  #asked = 0 // messages asked for and not yet received
  #held = 0 // received and not yet released
  #lastSequence: number | undefined
  #lastMs: number | undefined
  /** Where the next consumer begins. */
  #next: number | undefined
  /** What the stream was when it was last looked at. */
  #place: StreamPlace | undefined
  #floor = new AckFloor()
  #remake = false
  #beats = 0
  #consumerSequence = 0
  #ahead = 0 // what the consumer had to deliver when it was made
  #lastHeard = 0
  #stopped = false
  #paused = false
  #opening = false
  #watchdog: NodeJS.Timeout | undefined
  #stopWatching: (() => void) | undefined

  /** Use {@link readStream}. */
  constructor(bus: Bus, options: ReaderOptions) {
    this.#bus = bus
    this.#options = options
    this.#maxPending = options.maxPending ?? 1_000
  }

  /** The sequence of the last message handed out. */
  get lastSequence(): number | undefined {
    return this.#lastSequence
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
    if (!this.#options.durable && this.#consumer !== '' && this.#bus.connected) {
      const { consumers } = await manager(this.#bus)
      await consumers.delete(this.#options.stream, this.#consumer).catch(() => undefined) // it expires by itself
    }
  }

  /** @internal */
  async open(): Promise<void> {
    await this.#ensureConsumer()
    this.#listen()
    this.#options.onOpened?.(this.#ahead)
    this.#pull()
    this.#stopWatching = this.#bus.on((event) => {
      if (event.type === 'reconnected') void this.#reopen()
    })
    this.#watchdog = setInterval(() => {
      // the server sends a heartbeat on every idle pull; three missed ones mean that the pull or the consumer is gone
      if (this.#asked > 0 && this.#bus.connected && now() - this.#lastHeard > 3 * heartbeatMs) void this.#reopen()
      this.#beats += 1
      const { durable } = this.#options
      if (durable && this.#floor.uncertain && this.#bus.connected && this.#beats % floorBeats === 0)
        void this.#learnFloor(durable)
    }, heartbeatMs)
    this.#watchdog.unref()
  }

  async #ensureConsumer(): Promise<void> {
    const { durable } = this.#options
    if (durable) await this.#ensureDurable(durable)
    else await this.#makeOrdered()
  }

  async #makeOrdered(): Promise<void> {
    const { stream, subjects, from = 'start' } = this.#options
    const identity = await this.#lookAt()
    if (!identity) return
    const snapshot = from === 'last-per-subject' && this.#lastSequence === undefined
    const start = this.#next === undefined || snapshot ? from : { sequence: this.#next }
    this.#consumer = `ordered_${nuid.next()}`
    this.#consumerSequence = 0
    const { consumers } = await manager(this.#bus)
    const made = await consumers.add(stream, orderedConfig(this.#consumer, subjects, start))
    // from now on it is a place: whoever began with what is new has not seen what comes while it is away
    this.#ahead = made.num_pending
    this.#next ??= made.delivered.stream_seq + 1
    this.#settle(identity, this.#next - 1)
  }

  async #ensureDurable(durable: DurableOptions): Promise<void> {
    const { stream, subjects } = this.#options
    const { consumers } = await manager(this.#bus)
    this.#consumer = durable.name
    const existing = await consumerInfo(this.#bus, stream, durable.name)
    const opened = this.#place !== undefined
    const identity = await this.#lookAt(existing)
    if (!identity) return
    if (existing && !this.#remake) {
      await joinDurable(this.#bus, stream, existing, durable, subjects)
      this.#floor.learn(existing.ack_floor.consumer_seq, existing.ack_floor.stream_seq)
    } else {
      if (existing) await consumers.delete(stream, durable.name).catch(() => undefined) // another member may have
      // a work queue holds nothing that is done
      const again: StartPosition = identity.workQueue ? 'start' : { sequence: this.#next ?? this.#floor.sequence + 1 }
      const start = opened || existing ? again : (this.#options.from ?? 'start')
      const config = durableConfig(durable, subjects, start)
      const made = await consumers.add(stream, config).catch(async (error) => {
        const other = await consumerInfo(this.#bus, stream, durable.name)
        if (!other) throw error
        await joinDurable(this.#bus, stream, other, durable, subjects) // another member was faster
        return other
      })
      // messages of the consumer before settle with its floor
      this.#floor = new AckFloor()
      this.#floor.learn(made.ack_floor.consumer_seq, made.ack_floor.stream_seq)
    }
    this.#remake = false
    this.#next = undefined
    this.#settle(identity, this.#floor.sequence)
  }

  /** The stream as it is, compared with what it was; undefined when the reader was stopped over it. */
  async #lookAt(consumer?: ConsumerInfo): Promise<StreamIdentity | undefined> {
    const { stream, durable } = this.#options
    // asked for after the consumer: what was delivered has to be in the stream
    const known = consumer && consumer.delivered.consumer_seq > 0 ? consumer.delivered.stream_seq : 0
    const { identity, gap } = this.#place
      ? await compareStream(this.#bus, stream, this.#lastPlace(this.#place, known))
      : known > 0
        ? await compareStream(this.#bus, stream, { sequence: known })
        : { identity: await streamIdentity(this.#bus, stream) }
    if (!gap) return identity
    this.#next = gap.next
    this.#lastSequence = undefined
    this.#lastMs = undefined
    if (durable) {
      const floor = consumer?.ack_floor.stream_seq ?? this.#floor.sequence
      if (gap.reason === 'shorter') this.#next = Math.min(floor, identity.lastSequence) + 1
      // one that another member made in the new stream is right; one that is past the stream's end waits for ever
      this.#remake = consumer !== undefined && consumer.delivered.stream_seq > identity.lastSequence
    }
    this.#bus.emit({ type: 'stream-gap', ...gap })
    if (this.#options.onGap) this.#bus.guarded(() => this.#options.onGap?.(gap), `onGap of stream ${stream}`)
    return this.#stopped ? undefined : identity
  }

  #lastPlace({ created, sequence }: StreamPlace, delivered: number): StreamPlace {
    if (this.#options.durable) {
      const done = this.#floor.begun ? this.#floor.sequence : 0
      return { created, sequence: Math.max(sequence, delivered, done) }
    }
    return { created, sequence: this.#lastSequence ?? sequence, timestampMs: this.#lastMs }
  }

  /** What a reopening compares the stream with; a reader may well wait for what lies past the stream's end. */
  #settle({ created, lastSequence }: StreamIdentity, sequence: number): void {
    this.#place = { created, sequence: Math.min(sequence, lastSequence) }
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
      `$JS.API.CONSUMER.MSG.NEXT.${this.#options.stream}.${this.#consumer}`,
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
    const delivered = new StreamMessage(message, durable ? this.#floor : undefined)
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
      this.#lastSequence = delivered.sequence
      this.#lastMs = delivered.timestampMs
      this.#next = delivered.sequence + 1
    }
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

  async #learnFloor(durable: DurableOptions): Promise<void> {
    const floor = this.#floor
    const info = await consumerInfo(this.#bus, this.#options.stream, durable.name).catch(() => undefined)
    if (info && floor === this.#floor) floor.learn(info.ack_floor.consumer_seq, info.ack_floor.stream_seq)
  }

  async #reopen(): Promise<void> {
    if (this.#opening || this.#stopped) return
    this.#opening = true
    this.#subscription?.unsubscribe()
    this.#inbox = ''
    for (let waitMs = 50; !this.#stopped; waitMs = Math.min(waitMs * 2, 2_000)) {
      try {
        await this.#ensureConsumer()
        break
      } catch (error) {
        const mapped = apiFailure(error, `reading stream ${this.#options.stream}`)
        if (waitMs > 1_000)
          this.#bus.guarded(() => this.#options.onError?.(mapped), `onError of ${this.#options.stream}`)
        await new Promise((resolve) => setTimeout(resolve, waitMs))
      }
    }
    this.#opening = false
    if (this.#stopped) return
    this.#listen()
    this.#options.onOpened?.(this.#ahead)
    this.#pull()
  }
}

/**
 * Starts reading a stream.
 * @throws MyelinError INVALID_OPTION, STREAM_NOT_FOUND, JETSTREAM_DISABLED, PERMISSION_DENIED
 */
export async function readStream(bus: Bus, options: ReaderOptions): Promise<StreamReader> {
  const reader = new StreamReader(bus, options)
  try {
    await reader.open()
  } catch (error) {
    await reader.stop()
    throw apiFailure(error, `reading stream ${options.stream}`)
  }
  return reader
}
