// One connection to NATS: publish, subscribe, request, with bounded buffers, deadlines and clear errors.
import type { Msg, NatsConnection, Subscription as NatsSubscription } from '@nats-io/nats-core'
import { PermissionViolationError } from '@nats-io/nats-core'
import { now } from './clock.ts'
import type { Codec } from './codec.ts'
import { failure } from './errors.ts'
import { toNatsHeaders } from './headers.ts'
import { asError, warn } from './report.ts'
import { type PendingReply, Requests, SingleReply } from './requests.ts'
import { inOwnContext, tracked } from './tracked.ts'
import { Watchdog } from './watchdog.ts'

/** What happens to the connection; see {@link Bus.on}. `stale`: the server is silent and the connection is given up;
 * `took-over`: the process that ran this folder's server ended, and this one runs it now. */
export type BusEvent =
  | { type: 'stale'; silentMs: number }
  | { type: 'disconnected' }
  | { type: 'reconnecting' }
  | { type: 'reconnected'; server: string }
  | { type: 'took-over'; server: string }
  /** The disk of this folder's server got full, or has room again: the server was restarted, see `EmbeddedEvent`. */
  | { type: 'disk-full' | 'disk-freed'; storeDir: string }
  | { type: 'slow-consumer'; subject: string; dropped: number }
  /** A stream that is read was made anew, or ends before what was read; see `StreamGap`. */
  | { type: 'stream-gap'; stream: string; reason: 'recreated' | 'shorter'; expected: number; next: number }
  | { type: 'permission-denied'; operation: string; subject: string }
  | { type: 'error'; error: Error; where?: string }
  | { type: 'closed'; error?: Error }

export interface BusLimits {
  readonly maxCallsInFlight: number
  readonly maxPendingBytes: number
  readonly silenceMs: number
  readonly inboxPrefix?: string | undefined
  readonly replicas?: number | undefined
  readonly servers?: readonly string[] | undefined
}

/** How a subject is heard. */
export interface SubscribeOptions {
  /** Share the messages among all subscribers of this queue group; without it everyone gets every message. */
  queue?: string
}

/** A subscription that is heard; made by {@link Bus.subscribe}. */
export interface BusSubscription {
  readonly subject: string
  readonly received: number
  /** Stops new messages at the server, then resolves when those already sent were handled. */
  drain(): Promise<void>
  unsubscribe(): void
}

/** How long to wait for the reply to {@link Bus.request}, and what goes with it. */
export interface RequestOptions {
  /** Absolute, in ms of `now()`. Default: 5 s from now. */
  deadline?: number
  headerLines?: string
  signal?: AbortSignal
}

/** The server takes 4,096 bytes for subject, reply subject and sizes together, and drops the connection beyond. */
const longestSubjectBytes = 3_800

/** @throws MyelinError INVALID_OPTION, PAYLOAD_TOO_LARGE */
function checkSubject(subject: string, what = 'subject'): void {
  if (subject === '' || /[\s\0]/.test(subject))
    throw failure('INVALID_OPTION', `${what} ${JSON.stringify(subject.slice(0, 100))} is empty or holds blanks`)
  if (subject.length * 3 <= longestSubjectBytes) return
  const size = Buffer.byteLength(subject)
  if (size <= longestSubjectBytes) return
  throw failure(
    'PAYLOAD_TOO_LARGE',
    `${what} ${subject.slice(0, 100)}… has ${size} bytes; the server takes ${longestSubjectBytes}: its key is too long`,
    { data: { size, limit: longestSubjectBytes } },
  )
}

const flowChunk = 256 * 1024
const postChunk = 64 * 1024

/**
 * A connection that is shared by everything in a process.
 *
 * Messages published while disconnected are kept up to `maxPendingBytes` and sent on reconnect; calls under way when
 * the connection drops fail with DISCONNECTED (retriable); subscriptions are resumed.
 */
export class Bus implements AsyncDisposable {
  /** The client library's connection, for what the bus does not cover. */
  readonly nats: NatsConnection
  /** @internal the shared reply subscription */
  readonly requests: Requests
  readonly codec: Codec
  readonly limits: BusLimits
  /** Copies of each stream and bucket in a cluster, 1 to 5. Undefined: three where the servers can. */
  replicas: number | undefined
  readonly #listeners = new Set<(event: BusEvent) => unknown>()
  readonly #onClose: (() => Promise<void>) | undefined
  #unconfirmedBytes = 0
  #sinceFlush = 0
  readonly #watchdog: Watchdog
  #connected = true
  /** The last subject that was found to be one. */
  #admitted: string | undefined
  #failures = 0
  #closing: Promise<void> | undefined
  #flow: Promise<void> | undefined
  /** What was published while disconnected, in order: the client library forgets it when it dials again. */
  #held: { readonly size: number; readonly send: () => void }[] = []
  #heldBytes = 0
  /** What was posted in this turn of the event loop. */
  #posted: { readonly subject: string; readonly data: Uint8Array; readonly headerLines: string }[] = []
  #postedBytes = 0
  #postTimer: NodeJS.Immediate | undefined

  /** Use `connect()`. `onClose` runs after the connection closed, e.g. to stop an embedded server. */
  constructor(nats: NatsConnection, codec: Codec, limits: BusLimits, onClose?: () => Promise<void>) {
    this.nats = nats
    this.codec = codec
    this.limits = limits
    this.replicas = limits.replicas
    this.#onClose = onClose
    this.requests = new Requests(nats, limits.inboxPrefix, limits.maxCallsInFlight, (error, where) =>
      this.report(error, where),
    )
    this.#watchdog = new Watchdog(
      nats,
      limits.silenceMs,
      () => this.connected,
      (silentMs) => this.emit({ type: 'stale', silentMs }),
    )
    this.#watch()
  }

  get serverVersion(): string {
    return this.nats.info?.version ?? ''
  }
  /** The largest message the server takes, headers included, in bytes. */
  get maxPayloadBytes(): number {
    return this.nats.info?.max_payload ?? 1024 * 1024
  }
  get connected(): boolean {
    return this.#connected && !this.nats.isClosed()
  }
  /**
   * Whether the server owes a sign of life for so long that the connection is most likely dead, though it is not closed
   * yet. It is dropped and dialled again after `silenceMs`, told by a `stale` event.
   */
  get stale(): boolean {
    return this.#watchdog.stale
  }
  /** How long nothing has come from the server, in ms. */
  get silentMs(): number {
    return this.#watchdog.silentMs
  }
  get url(): string {
    return this.nats.getServer()
  }
  /** The addresses that it was given, for another connection to the same servers. */
  get servers(): readonly string[] {
    return this.limits.servers ?? [this.url]
  }

  /**
   * Sends a message. Never waits; to be polite to the server `await bus.flow()` now and then.
   * @throws MyelinError PAYLOAD_TOO_LARGE, CLOSED, or OVERLOADED when disconnected and the buffer is full
   */
  publish(subject: string, data: Uint8Array, headerLines = '', reply?: string): void {
    if (this.#posted.length > 0) this.#sendPosted() // the order stays
    const size = this.#admit(subject, data, headerLines)
    if (!this.#connected) {
      this.#hold(size, () => this.publish(subject, data, headerLines, reply))
      return
    }
    this.nats.publish(subject, data, {
      ...(reply === undefined ? {} : { reply }),
      ...(headerLines === '' ? {} : { headers: toNatsHeaders(headerLines)! }),
    })
    this.#count(size)
  }

  /**
   * As `publish`, but messages may wait for each other until the end of this turn of the event loop.
   * Hot path: the client library writes to its socket after every microtask, so a loop that awaits each publish makes a
   * system call per message (17,000/s here); posted together they reach 200,000/s.
   */
  post(subject: string, data: Uint8Array, headerLines = ''): void {
    this.#postedBytes += this.#admit(subject, data, headerLines)
    this.#posted.push({ subject, data, headerLines })
    if (this.#postedBytes >= postChunk) this.#sendPosted()
    else this.#postTimer ??= setImmediate(() => this.#sendPosted())
  }

  #sendPosted(): void {
    clearImmediate(this.#postTimer)
    this.#postTimer = undefined
    const posted = this.#posted
    this.#posted = []
    this.#postedBytes = 0
    for (const { subject, data, headerLines } of posted) {
      try {
        this.publish(subject, data, headerLines)
      } catch (error) {
        this.emit({ type: 'error', error: error as Error }) // closed, or the buffer ran over, meanwhile
      }
    }
  }

  /**
   * Sends a request and resolves with the first reply.
   * @throws MyelinError NO_RESPONDERS, DEADLINE_EXCEEDED, CANCELLED, DISCONNECTED, OVERLOADED, PAYLOAD_TOO_LARGE
   */
  request(subject: string, data: Uint8Array, options: RequestOptions = {}): Promise<Msg> {
    const pending = new SingleReply(subject, options.deadline ?? now() + 5_000)
    const { signal } = options
    if (signal) {
      const cancel = () => pending.fail(failure('CANCELLED', `the request to ${subject} was cancelled`))
      if (signal.aborted) return Promise.reject(failure('CANCELLED', `the request to ${subject} was cancelled`))
      signal.addEventListener('abort', cancel, { once: true })
      const forget = () => signal.removeEventListener('abort', cancel)
      pending.promise.then(forget, forget)
    }
    try {
      this.start(pending, data, options.headerLines ?? '')
    } catch (error) {
      return Promise.reject(error)
    }
    return pending.promise
  }

  /** Publishes a request whose replies go to `pending`. @throws as `publish` */
  start(pending: PendingReply, data: Uint8Array, headerLines: string): void {
    if (this.#posted.length > 0) this.#sendPosted()
    const size = this.#admit(pending.subject, data, headerLines)
    this.requests.register(pending)
    if (!this.#connected) {
      // a call whose deadline passes meanwhile is not sent any more
      this.#hold(size, () => {
        if (pending.waiting) this.requests.send(pending, data, headerLines)
      })
      return
    }
    this.requests.send(pending, data, headerLines)
    this.#count(size)
  }

  /**
   * Calls `handler` for every message, in order; it should return quickly. What it throws, or what a promise it returns
   * is rejected with, is reported (see {@link Bus.report}) and ends neither the subscription nor anything else.
   */
  subscribe(subject: string, handler: (message: Msg) => unknown, options: SubscribeOptions = {}): BusSubscription {
    if (this.nats.isClosed()) throw failure('CLOSED', `cannot subscribe to ${subject}: the connection is closed`)
    checkSubject(subject)
    if (options.queue !== undefined) checkSubject(options.queue, 'queue group')
    const receive = inOwnContext(handler)
    const subscription: NatsSubscription = this.nats.subscribe(subject, {
      ...(options.queue === undefined ? {} : { queue: options.queue }),
      callback: (error, message) => {
        if (error !== null) return
        // an exception that leaves here ends the client library's reading, and with it every subscription and call
        try {
          const result = receive(message)
          if (result instanceof Promise) result.catch((thrown) => this.report(thrown, failing()))
        } catch (thrown) {
          this.report(thrown, failing())
        }
      },
    })
    const failing = () => `a subscriber of ${subject}`
    return tracked({
      subject,
      get received() {
        return subscription.getReceived()
      },
      drain: () => (subscription.isClosed() ? Promise.resolve() : subscription.drain()),
      unsubscribe: () => subscription.unsubscribe(),
    })
  }

  /**
   * Backpressure for publishers: undefined while the server keeps up, else a promise to await before publishing more.
   * A round trip every 256 KiB tells how far the server has come.
   */
  flow(): Promise<void> | undefined {
    if (this.#unconfirmedBytes < this.limits.maxPendingBytes) return undefined
    this.#flow ??= this.#drained().finally(() => {
      this.#flow = undefined
    })
    return this.#flow
  }

  /** Resolves when connected, or closed for good. */
  async whenConnected(): Promise<void> {
    if (this.#connected || this.nats.isClosed()) return
    await new Promise<void>((resolve) => {
      const stop = this.on(({ type }) => {
        if (type !== 'reconnected' && type !== 'closed') return
        stop()
        resolve()
      })
    })
  }

  async #drained(): Promise<void> {
    while (!this.nats.isClosed()) {
      await this.whenConnected()
      const taken = await this.flush().then(
        () => true,
        () => false, // disconnected meanwhile
      )
      if (taken) return
    }
  }

  #hold(size: number, send: () => void): void {
    this.#held.push({ size, send })
    this.#heldBytes += size
  }

  #sendHeld(): void {
    const held = this.#held
    this.#held = []
    this.#heldBytes = 0
    for (const { send } of held) {
      try {
        send()
      } catch (error) {
        this.emit({ type: 'error', error: error as Error })
      }
    }
  }

  /** Resolves when the server has taken everything published so far. */
  async flush(): Promise<void> {
    if (this.#posted.length > 0) this.#sendPosted()
    await this.nats.flush()
  }

  /** Whether the server has not yet taken more than the allowed bytes. */
  get congested(): boolean {
    return this.#unconfirmedBytes >= this.limits.maxPendingBytes
  }

  /** Watches the connection. Returns a function that stops watching. */
  on(listener: (event: BusEvent) => unknown): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** @internal */
  emit(event: BusEvent): void {
    for (const listener of this.#listeners) {
      // must not end the watch over the connection, nor be told to itself
      const failed = (thrown: unknown) => {
        this.#failures += 1
        warn(asError(thrown), 'a listener of the connection')
      }
      try {
        const result = listener(event)
        if (result instanceof Promise) result.catch(failed)
      } catch (thrown) {
        failed(thrown)
      }
    }
  }

  /**
   * Reports what a callback threw that nobody waits for: counted, told to listeners as an `error` event, and written as
   * a warning of the process (at most one in 10 s). `where` names the callback.
   */
  report(thrown: unknown, where: string): void {
    const error = asError(thrown)
    this.#failures += 1
    this.emit({ type: 'error', error, where })
    warn(error, where)
  }

  /** Calls a callback of somebody else's; what it throws, or its promise is rejected with, is reported. */
  guarded(callback: () => unknown, where: string): void {
    try {
      const result = callback()
      if (result instanceof Promise) result.catch((thrown) => this.report(thrown, where))
    } catch (thrown) {
      this.report(thrown, where)
    }
  }

  /** How often a callback failed: subscribers, listeners, replies. */
  get failures(): number {
    return this.#failures
  }

  /** Resolves when the connection has closed for good, with the error that closed it, if one did. */
  async closed(): Promise<Error | undefined> {
    return (await this.nats.closed()) ?? undefined
  }

  /** Handles what was received, sends what was published, then closes. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      if (this.#posted.length > 0) this.#sendPosted()
      this.requests.failAll((subject) =>
        failure('CLOSED', `the connection was closed while a call to ${subject} was under way`),
      )
      if (!this.nats.isClosed()) {
        if (this.#connected) await this.nats.drain().catch(() => this.nats.close())
        else await this.nats.close()
      }
      await this.#onClose?.()
    })()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #admit(subject: string, data: Uint8Array, headerLines: string): number {
    if (subject !== this.#admitted) {
      checkSubject(subject)
      this.#admitted = subject
    }
    let size = data.length + (headerLines === '' ? 0 : headerLines.length + 12)
    // counting characters is cheap; near the limit their bytes are counted (UTF-8 takes up to three per character)
    if (size + 2 * headerLines.length > this.maxPayloadBytes)
      size += Buffer.byteLength(headerLines) - headerLines.length
    if (size > this.maxPayloadBytes) {
      throw failure(
        'PAYLOAD_TOO_LARGE',
        `${subject}: ${size} bytes with headers; the server takes ${this.maxPayloadBytes}`,
        {
          data: { size, limit: this.maxPayloadBytes },
        },
      )
    }
    if (this.nats.isClosed()) throw failure('CLOSED', `cannot publish to ${subject}: the connection is closed`)
    if (!this.#connected && this.#heldBytes + size > this.limits.maxPendingBytes) {
      throw failure(
        'OVERLOADED',
        `disconnected, and ${this.#heldBytes} bytes wait for the server; the limit is maxPendingBytes`,
      )
    }
    return size
  }

  #count(size: number): void {
    this.#unconfirmedBytes += size
    this.#sinceFlush += size
    if (this.#sinceFlush < Math.min(flowChunk, this.limits.maxPendingBytes / 4) || !this.#connected) return
    const confirmed = this.#sinceFlush
    this.#sinceFlush = 0
    const settle = () => {
      this.#unconfirmedBytes = Math.max(0, this.#unconfirmedBytes - confirmed)
    }
    this.nats.flush().then(settle, settle)
  }

  async #watch(): Promise<void> {
    for await (const status of this.nats.status()) {
      switch (status.type) {
        case 'disconnect':
          this.#connected = false
          this.requests.failAll((subject) =>
            failure(
              'DISCONNECTED',
              `the connection dropped while a call to ${subject} was under way; it may have been carried out`,
            ),
          )
          this.emit({ type: 'disconnected' })
          break
        case 'reconnecting':
          this.emit({ type: 'reconnecting' })
          break
        case 'reconnect':
          this.#connected = true
          this.#unconfirmedBytes = 0
          this.#sinceFlush = 0
          this.#sendHeld()
          this.emit({ type: 'reconnected', server: status.server })
          break
        case 'error':
          this.#refused(status.error)
          break
        case 'slowConsumer':
          this.emit({ type: 'slow-consumer', subject: status.sub.getSubject(), dropped: status.pending })
          break
        default:
      }
    }
    this.#watchdog.stop()
    const error = (await this.nats.closed()) ?? undefined
    this.requests.failAll((subject) =>
      failure('CLOSED', `the connection closed while a call to ${subject} was under way`),
    )
    this.emit(error ? { type: 'closed', error } : { type: 'closed' })
  }

  #refused(error: Error): void {
    if (!(error instanceof PermissionViolationError)) {
      this.emit({ type: 'error', error })
      return
    }
    const { operation, subject } = error
    this.requests.failSubject(
      subject,
      failure('PERMISSION_DENIED', `${operation} on ${subject} is not allowed for this user`, { cause: error }),
    )
    this.emit({ type: 'permission-denied', operation, subject })
  }
}
