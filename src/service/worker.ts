// A durable reader that hands messages to a handler, at most `concurrency` at a time: jobs, and a service's durable
// events. At least once: a message leaves only when its handler succeeded, or as a dead letter with its reason; a
// worker that dies loses its lease and another takes over.
import {
  codecFor,
  header,
  MyelinError,
  messageOf,
  now,
  readStream,
  type StreamMessage,
  type StreamReader,
  startSpan,
  timerMs,
  traceOf,
  tracingOn,
} from '../bus/index.ts'
import { parse, type Schema } from '../contract/index.ts'
import { HandlerContext, type Scope } from './context.ts'
import { type DeadLetterSource, keepDeadLetter } from './dead-letters.ts'
import type { Handle } from './middleware.ts'

export interface WorkerOptions {
  readonly scope: Scope
  readonly stream: string
  readonly subjects: readonly string[]
  /** Name of the durable consumer that all instances share. */
  readonly durable: string
  readonly from?: 'start' | 'new'
  readonly schema: Schema
  readonly where: string
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
  readonly stats: WorkerStats = { done: 0, failed: 0, retried: 0, dead: 0 }
  readonly #waiting: StreamMessage[] = []
  readonly #leased = new Set<StreamMessage>()
  readonly #contexts = new Set<HandlerContext>()
  #reader: StreamReader | undefined
  #running = 0
  #meanMs = aheadMs
  #draining = false
  #idle: (() => void) | undefined
  #leases: NodeJS.Timeout | undefined

  constructor(options: WorkerOptions) {
    this.#options = options
  }

  get running(): number {
    return this.#running
  }

  async start(): Promise<void> {
    const { scope, stream, subjects, durable, leaseMs, from } = this.#options
    this.#reader = await readStream(scope.bus, {
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
    })
    // one timer extends all leases: what waits here and what is worked on
    this.#leases = setInterval(
      () => {
        if (scope.bus.connected) for (const message of this.#leased) message.working()
      },
      timerMs(leaseMs / 3),
    )
    this.#leases.unref()
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
  }

  /** Tells running handlers to stop: their work goes back to the queue. */
  abort(): void {
    for (const context of this.#contexts) context.end('cancelled')
  }

  #window(): number {
    const { concurrency } = this.#options
    return concurrency + Math.min(maxAhead, Math.floor((concurrency * aheadMs) / Math.max(this.#meanMs, 0.01)))
  }

  #next(): void {
    while (this.#running < this.#options.concurrency && this.#waiting.length > 0 && !this.#draining) {
      this.#running += 1
      this.#work(this.#waiting.shift()!)
    }
  }

  #work(message: StreamMessage): void {
    const { scope, schema, where, timeoutMs } = this.#options
    const started = performance.now()
    const deadline = Number.isFinite(timeoutMs) ? now() + timeoutMs : Number.POSITIVE_INFINITY
    const context = new HandlerContext(scope, message.headers, message.subject, deadline, message.deliveries)
    this.#contexts.add(context)
    const span = tracingOn() ? startSpan('process', message.subject, { parent: traceOf(message.headers) }) : undefined
    if (span) context.span = span.trace
    const done = (error?: unknown) => {
      this.#meanMs = this.#meanMs * 0.98 + (performance.now() - started) * 0.02
      this.#contexts.delete(context)
      const endedEarly = context.ended
      context.end('done')
      span?.end(
        error === undefined
          ? undefined
          : { code: error instanceof MyelinError ? error.code : 'INTERNAL', message: messageOf(error) },
      )
      if (error === undefined) {
        message.ack()
        this.stats.done += 1
        this.#release(message)
      } else if (endedEarly && this.#draining) {
        message.nak() // aborted by a drain: not the job's fault
        this.#release(message)
      } else void this.#failed(message, context.attempt, error)
    }
    try {
      const input = parse(
        schema,
        codecFor(message.headers.get(header.contentType)).decode(message.data),
        'INVALID_INPUT',
        where,
      )
      const handle = () =>
        input instanceof Promise
          ? input.then((value) => this.#options.handle(value, context))
          : this.#options.handle(input, context)
      const output = span ? span.run(handle) : handle()
      if (output instanceof Promise) {
        // a handler that hangs past its timeout fails this try; it is told by its signal
        const late = new Promise<never>((_, reject) => {
          context.onEnd = () => reject(context.signal.reason)
        })
        Promise.race([output, late]).then(() => done(), done)
      } else done()
    } catch (error) {
      done(error)
    }
  }

  async #failed(message: StreamMessage, attempt: number, error: unknown): Promise<void> {
    const { scope, attempts, backoffMs, deadLetter, where } = this.#options
    this.stats.failed += 1
    // what can never fit the schema is not worth another try
    const hopeless =
      error instanceof MyelinError && (error.code === 'INVALID_INPUT' || error.code === 'MALFORMED_PAYLOAD')
    if (!hopeless && attempt < attempts) {
      const delay = Math.min(backoffMs.from * 2 ** (attempt - 1), backoffMs.to) * (0.75 + Math.random() / 2)
      // what the library itself says needs no stack; a handler's own failure does
      const detail = error instanceof MyelinError ? { code: error.code } : { err: error }
      scope.log.warn(
        { ...detail, sequence: message.sequence },
        `${where}: try ${attempt} of ${attempts} failed: ${messageOf(error)}`,
      )
      this.stats.retried += 1
      message.nak(delay)
      this.#release(message)
      return
    }
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
      message.nak(backoffMs.to)
    }
    this.#release(message)
  }

  #release(message: StreamMessage): void {
    this.#leased.delete(message)
    this.#running -= 1
    if (this.#reader) {
      this.#reader.maxPending = this.#window()
      this.#reader.release()
    }
    if (this.#draining && this.#running === 0) this.#idle?.()
    this.#next()
  }
}
