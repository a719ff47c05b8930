// Reading a stream by pull: at most `maxPending` messages are here unreleased, so a slow reader never fills its memory
// (the client library's consume() asks for more as messages arrive, not as they are handled).
import { AckPolicy, type ConsumerConfig, DeliverPolicy, ReplayPolicy } from '@nats-io/jetstream'
import { createInbox, type Msg, nuid } from '@nats-io/nats-core'
import type { Bus, BusSubscription } from '../bus.ts'
import { now } from '../clock.ts'
import { failure, type MyelinError } from '../errors.ts'
import { readHeaders } from '../headers.ts'
import { parseTime } from '../time.ts'
import { apiFailure, manager } from './api.ts'
import { StreamMessage } from './message.ts'

/** Where to begin: the first message kept, only new ones, after a sequence, or at a time (unix ms). */
export type StartPosition =
  | 'start'
  | 'new'
  | 'last-per-subject'
  | { readonly sequence: number }
  | { readonly timeMs: number }

export interface ReaderOptions {
  readonly stream: string
  readonly subjects?: readonly string[]
  /** Messages received and not yet released; the bound of this reader's memory. Default 1,000. */
  readonly maxPending?: number
  /** Durable: the server keeps the position, every message must be acknowledged. Absent: ordered, kept by the reader. */
  readonly durable?: {
    readonly name: string
    readonly ackWaitMs: number
    /** Deliveries before the server gives up; -1 for no end. */
    readonly maxDeliver?: number
    readonly maxAckPending?: number
    /** Removed by the server after this long without a reader. */
    readonly inactiveMs?: number
  }
  /** For a durable that exists already, its stored position wins. */
  readonly from?: StartPosition
  /** Called in order; return quickly. Call `release()` once per message when it is handled. */
  readonly onMessage: (message: StreamMessage) => void
  /** Called whenever the reader's place at the server was made, at first and after each loss, with how much lies ahead. */
  readonly onOpened?: (pending: number) => void
  /** Called when reading cannot go on (the stream is gone, permission…); waits and tries again by itself before that. */
  readonly onError?: (error: MyelinError) => void
}

const nanos = 1_000_000
const pullExpiresMs = 20_000
const heartbeatMs = 2_000

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
    this.#held -= count
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
    }, heartbeatMs)
    this.#watchdog.unref()
  }

  async #ensureConsumer(): Promise<void> {
    const { stream, durable, subjects } = this.#options
    const { consumers } = await manager(this.#bus)
    const common = {
      replay_policy: ReplayPolicy.Instant,
      ...(subjects === undefined
        ? this.#options.from === 'last-per-subject'
          ? { filter_subject: '>' } // the server insists on a filter
          : {}
        : subjects.length === 1
          ? { filter_subject: subjects[0]! }
          : { filter_subjects: [...subjects] }),
    }
    if (durable) {
      const config: Partial<ConsumerConfig> = {
        ...common,
        durable_name: durable.name,
        ack_policy: AckPolicy.Explicit,
        ack_wait: durable.ackWaitMs * nanos,
        max_deliver: durable.maxDeliver ?? -1,
        max_ack_pending: durable.maxAckPending ?? -1,
        ...(durable.inactiveMs === undefined ? {} : { inactive_threshold: durable.inactiveMs * nanos }),
      }
      this.#consumer = durable.name
      const existing = await consumers.info(stream, durable.name).catch(() => undefined)
      if (existing) {
        const changes = {
          ack_wait: config.ack_wait!,
          max_deliver: config.max_deliver!,
          max_ack_pending: config.max_ack_pending!,
        }
        if (Object.entries(changes).some(([key, value]) => existing.config[key as keyof ConsumerConfig] !== value)) {
          await consumers.update(stream, durable.name, changes)
        }
      } else {
        await consumers.add(stream, { ...config, ...startOf(this.#options.from ?? 'start') }).catch(async (error) => {
          if (!(await consumers.info(stream, durable.name).catch(() => undefined))) throw error
        })
      }
      return
    }
    this.#consumer = `ordered_${nuid.next()}`
    this.#consumerSequence = 0
    const made = await consumers.add(stream, {
      ...common,
      name: this.#consumer,
      ack_policy: AckPolicy.None,
      mem_storage: true,
      num_replicas: 1,
      inactive_threshold: 60_000 * nanos,
      ...startOf(
        this.#lastSequence === undefined ? (this.#options.from ?? 'start') : { sequence: this.#lastSequence + 1 },
      ),
    })
    this.#ahead = made.num_pending
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
    this.#lastHeard = now()
    if (message.subject === this.#inbox) {
      this.#status(message)
      return
    }
    const delivered = new StreamMessage(message)
    if (this.#stopped) {
      if (this.#options.durable) delivered.nak()
      return
    }
    if (this.#asked > 0) this.#asked -= 1
    if (!this.#options.durable) {
      if (delivered.consumerSequence !== this.#consumerSequence + 1) {
        void this.#reopen() // a message was lost on the way
        return
      }
      this.#consumerSequence += 1
      this.#lastSequence = delivered.sequence
    }
    this.#held += 1
    this.#options.onMessage(delivered)
  }

  #status(message: Msg): void {
    if (this.#stopped) return
    const headers = readHeaders(message)
    const status = headers.status
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
    this.#asked = Math.max(0, this.#asked - Number(headers.get('Nats-Pending-Messages') ?? this.#asked))
    if (this.#asked + this.#held <= this.#maxPending / 2) this.#pull()
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
        if (waitMs > 1_000) this.#options.onError?.(mapped)
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

function startOf(from: StartPosition): Partial<ConsumerConfig> {
  if (from === 'start') return { deliver_policy: DeliverPolicy.All }
  if (from === 'new') return { deliver_policy: DeliverPolicy.New }
  if (from === 'last-per-subject') return { deliver_policy: DeliverPolicy.LastPerSubject }
  if ('sequence' in from)
    return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Math.max(1, from.sequence) }
  const timeMs = parseTime(from.timeMs)
  if (timeMs === undefined) throw failure('INVALID_OPTION', `from: timeMs: expected unix ms, got ${from.timeMs}`)
  // the server takes no years but those of four digits
  const at = Math.min(Math.max(timeMs, 0), Date.parse('9999-12-31T23:59:59.999Z'))
  return { deliver_policy: DeliverPolicy.StartTime, opt_start_time: new Date(at).toISOString() }
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
