// A durable reader that hands messages to a handler, at most `concurrency` at a time: jobs, and a service's durable
// events. At least once: a message leaves only when its handler succeeded, or as a dead letter with its reason; a
// worker that dies loses its lease and another takes over. Tries are begins, written down before the handler runs (see
// tries.ts): what was only fetched ahead is not counted, what killed its worker is.
import {
  boundedText,
  consume,
  failure,
  header,
  MyelinError,
  messageOf,
  messagingSpan,
  now,
  readPayload,
  type StreamMessage,
  type StreamReader,
  type Traced,
  timerMs,
  traceOf,
  tracingOn,
} from '../bus/internal.ts'
import { isEndOfInput, parse, type Schema } from '../contract/internal.ts'
import { HandlerContext, type Scope } from './context.ts'
import { type DeadLetterSource, keepDeadLetter } from './dead-letters.ts'
import { type Handle, isThenable } from './middleware.ts'
import { type EarlierTries, Tries } from './tries.ts'

export interface WorkerOptions {
  readonly scope: Scope
  readonly stream: string
  readonly subjects: readonly string[]
  /** Name of the durable consumer that all instances share. */
  readonly durable: string
  readonly from?: 'start' | 'new'
  readonly schema: Schema
  readonly where: string
  /** Where these messages go, without their keys. */
  readonly destination: string
  readonly handle: Handle
  readonly concurrency: number
  readonly attempts: number
  readonly backoffMs: { readonly from: number; readonly to: number }
  readonly leaseMs: number
  readonly timeoutMs: number
  readonly deadLetter: DeadLetterSource
}

export interface WorkerStats {
  done: number
  failed: number
  retried: number
  dead: number
}

// Messages fetched ahead are worth this much work, so that a slow worker never hoards what others could do.
const aheadMs = 50
const maxAhead = 512

export class Worker {
  readonly #options: WorkerOptions
  readonly #tries: Tries
  readonly stats: WorkerStats = { done: 0, failed: 0, retried: 0, dead: 0 }
  readonly #waiting: StreamMessage[] = []
  readonly #leased = new Set<StreamMessage>()
  /** First tries that are under way, by their key in `#tries`. */
  readonly #begun = new Map<StreamMessage, string>()
  #beginning: StreamMessage[] = []
  readonly #contexts = new Set<HandlerContext>()
  #reader: StreamReader | undefined
  #running = 0
  #meanMs = aheadMs
  #draining = false
  #idle: (() => void) | undefined
  #leases: NodeJS.Timeout | undefined
  /** When all leases were good for another `leaseMs`. */
  #renewedAt = now()
  #stopWatching: (() => void) | undefined

  constructor(options: WorkerOptions) {
    this.#options = options
    const { scope, stream, durable } = options
    this.#tries = new Tries(scope.bus, scope.service, stream, durable)
  }

  get running(): number {
    return this.#running
  }

  async start(): Promise<void> {
    const { scope, stream, subjects, durable, leaseMs, from } = this.#options
    await this.#tries.open()
    this.#renewedAt = now()
    this.#reader = await consume(scope.bus, {
      stream,
      subjects,
      maxPending: this.#window(),
      from: from ?? 'start',
      durable: { name: durable, ackWaitMs: leaseMs },
      onMessage: (message) => {
        this.#leased.add(message)
        this.#waiting.push(message)
        this.#next()
      },
      onError: (error) => scope.log.error({ err: error, stream }, 'reading a stream failed'),
      onGap: (gap) =>
        scope.log.warn(gap, `stream ${stream} was ${gap.reason}: work goes on with what it has now, from ${gap.next}`),
    })
    // one timer extends all leases: what waits here and what is worked on
    this.#leases = setInterval(() => this.#renew(), timerMs(leaseMs / 3))
    this.#leases.unref()
    this.#stopWatching = scope.bus.on(({ type }) => {
      if (type === 'reconnected') this.#renew()
    })
  }

  /** Takes nothing new, gives back what was not begun, and resolves when the rest is done. */
  async drain(): Promise<void> {
    this.#draining = true
    await this.#reader?.stop()
    for (const message of this.#waiting.splice(0)) {
      this.#leased.delete(message)
      message.nak()
    }
    if (this.#running > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
    clearInterval(this.#leases)
    this.#stopWatching?.()
  }

  /** Every try is a part of the trace that the message was sent in. */
  #span({ subject, headers }: StreamMessage): Traced {
    const { destination, durable } = this.#options
    return messagingSpan(
      'process',
      { destination, subject, id: headers.get(header.messageId), group: durable },
      traceOf(headers),
    )
  }

  /** Aborts running handlers: their work goes back to the queue. */
  abort(): void {
    for (const context of this.#contexts) context.end('cancelled')
  }

  #window(): number {
    const { concurrency } = this.#options
    return concurrency + Math.min(maxAhead, Math.floor((concurrency * aheadMs) / Math.max(this.#meanMs, 0.01)))
  }

  #renew(): void {
    if (!this.#options.scope.bus.connected) return
    if (this.#leasesLost()) this.#loseWaiting()
    for (const message of this.#leased) message.working()
    this.#renewedAt = now()
    this.#next()
  }

  /** After a lost connection or a stall: others have been given what this worker held, or will be. */
  #leasesLost(): boolean {
    return now() - this.#renewedAt > this.#options.leaseMs
  }

  #loseWaiting(): void {
    for (const message of this.#waiting.splice(0)) {
      this.#leased.delete(message)
      this.#reader?.release()
    }
    this.#renewedAt = now()
  }

  #next(): void {
    if (this.#waiting.length === 0 || this.#draining || this.#running >= this.#options.concurrency) return
    // begun while disconnected, a job could be begun by somebody else as well
    if (!this.#options.scope.bus.connected) return
    if (this.#leasesLost()) return this.#loseWaiting()
    while (this.#running < this.#options.concurrency && this.#waiting.length > 0) {
      const message = this.#waiting.shift()!
      this.#running += 1
      if (message.deliveries > 1) void this.#tryAgain(message)
      else {
        this.#beginning.push(message)
        if (this.#beginning.length === 1) queueMicrotask(() => this.#begin())
      }
    }
  }

  /** First tries, all of this turn together: written down, then done. */
  #begin(): void {
    const messages = this.#beginning
    this.#beginning = []
    for (const message of messages) this.#begun.set(message, this.#tries.keyOf(message))
    try {
      this.#tries.underWay(this.#begun.values())
    } catch (error) {
      this.#options.scope.log.warn({ err: error }, `${this.#options.where}: a first try could not be written down`)
    }
    // by the next microtask the client library has given it to the operating system
    queueMicrotask(() => {
      for (const message of messages) this.#work(message, 1)
    })
  }

  /** Another delivery: the count of earlier tries decides, and is stored before the handler runs. */
  async #tryAgain(message: StreamMessage): Promise<void> {
    const { scope, attempts, where, backoffMs } = this.#options
    try {
      const earlier = await this.#tries.before(message)
      if (earlier.begun >= attempts) return await this.#giveUp(message, howItEnded(earlier, where), earlier.begun)
      await this.#tries.set(message, { begun: earlier.begun + 1 })
      this.#work(message, earlier.begun + 1)
    } catch (error) {
      scope.log.warn({ err: error, sequence: message.sequence }, `${where}: earlier tries could not be looked up`)
      message.nak(backoffMs.to)
      this.#release(message)
    }
  }

  #work(message: StreamMessage, attempt: number): void {
    if (message.data.length === 0 && isEndOfInput(message)) {
      message.ack()
      this.#release(message)
      return
    }
    const { scope, schema, where, timeoutMs } = this.#options
    const started = performance.now()
    const deadline = Number.isFinite(timeoutMs) ? now() + timeoutMs : Number.POSITIVE_INFINITY
    const context = new HandlerContext(scope, message.headers, message.subject, deadline, attempt)
    this.#contexts.add(context)
    const span = tracingOn() ? this.#span(message) : undefined
    if (span) context.span = span.trace
    let understood = false
    const done = (error?: unknown, failed = error !== undefined) => {
      this.#meanMs = this.#meanMs * 0.98 + (performance.now() - started) * 0.02
      this.#contexts.delete(context)
      const endedEarly = context.ended
      context.end('done')
      span?.end(failed ? { code: codeOf(error), message: messageOf(error) } : undefined)
      if (!failed) {
        message.ack()
        this.stats.done += 1
        this.#release(message)
      } else if (endedEarly && this.#draining) void this.#giveBack(message, attempt)
      else void this.#failed(message, attempt, error, understood)
    }
    const handle = (input: unknown) => {
      understood = true
      return this.#options.handle(input, context)
    }
    try {
      const input = parse(schema, readPayload(message.headers, message.data), 'INVALID_INPUT', where)
      const run = () => (input instanceof Promise ? input.then(handle) : handle(input))
      const output = span ? span.run(run) : run()
      if (isThenable(output)) {
        // a handler that hangs past its timeout fails this try; its signal is aborted
        const late = new Promise<never>((_, reject) => {
          context.onEnd = () => reject(context.signal.reason)
        })
        Promise.race([output, late]).then(
          () => done(),
          (error) => done(error, true),
        )
      } else done()
    } catch (error) {
      done(error, true)
    }
  }

  /** Aborted by a drain, which is not the job's fault: this try is none. */
  async #giveBack(message: StreamMessage, attempt: number): Promise<void> {
    await this.#count(message, { begun: attempt - 1 })
    message.nak()
    this.#release(message)
  }

  async #failed(message: StreamMessage, attempt: number, error: unknown, understood: boolean): Promise<void> {
    const { scope, attempts, backoffMs, where } = this.#options
    this.stats.failed += 1
    // what does not fit the schema never will; what the handler says of others' input is another matter
    const hopeless = !understood && error instanceof MyelinError
    if (hopeless || attempt >= attempts) return this.#giveUp(message, error, attempt)
    const delay = Math.min(backoffMs.from * 2 ** (attempt - 1), backoffMs.to) * (0.75 + Math.random() / 2)
    // what the library itself says needs no stack; a handler's own failure does
    const detail = error instanceof MyelinError ? { code: error.code } : { err: error }
    scope.log.warn(
      { ...detail, sequence: message.sequence },
      `${where}: try ${attempt} of ${attempts} failed: ${messageOf(error)}`,
    )
    this.stats.retried += 1
    await this.#count(message, failedTry(attempt, error))
    message.nak(delay)
    this.#release(message)
  }

  async #giveUp(message: StreamMessage, error: unknown, attempt: number): Promise<void> {
    const { scope, attempts, backoffMs, deadLetter, where } = this.#options
    try {
      await keepDeadLetter(scope.bus, deadLetter, message, error, attempt)
      message.ack()
      this.stats.dead += 1
      scope.log.error(
        { err: error, attempt, sequence: message.sequence },
        `${where}: given up after ${attempt} tries, kept as a dead letter`,
      )
    } catch (cause) {
      scope.log.error(
        { err: cause, sequence: message.sequence },
        `${where}: the dead letter could not be stored, trying again`,
      )
      // no more tries meanwhile: the next delivery is only about the letter
      await this.#count(message, failedTry(Math.max(attempt, attempts), error))
      message.nak(backoffMs.to)
    }
    this.#release(message)
  }

  /** Stores how often a message was begun; where that fails, the list of what was under way still says once. */
  async #count(message: StreamMessage, tries: EarlierTries): Promise<void> {
    const { scope, where } = this.#options
    await this.#tries
      .set(message, tries)
      .catch((error) => scope.log.warn({ err: error, sequence: message.sequence }, `${where}: a try was not counted`))
  }

  #release(message: StreamMessage): void {
    this.#leased.delete(message)
    this.#begun.delete(message)
    this.#running -= 1
    if (this.#reader) {
      this.#reader.maxPending = this.#window()
      this.#reader.release()
    }
    if (this.#draining && this.#running === 0) this.#idle?.()
    this.#next()
  }
}

const codeOf = (error: unknown) => (error instanceof MyelinError ? error.code : 'INTERNAL')

const failedTry = (begun: number, error: unknown): EarlierTries => ({
  begun,
  code: codeOf(error),
  reason: boundedText(messageOf(error), 1_000),
})

/** What the last of the earlier tries came to: the failure it reported, or silence. */
function howItEnded({ begun, code, reason = '' }: EarlierTries, where: string): MyelinError {
  if (code !== undefined) return new MyelinError(code, reason)
  const times = begun === 1 ? 'once' : `${begun} times`
  return failure('LEASE_EXPIRED', `${where}: begun ${times}; its worker died, or fell silent for longer than its lease`)
}
