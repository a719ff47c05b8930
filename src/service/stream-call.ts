// Streamed replies, the caller's side: an async iterator with credit-based flow control.
// Protocol (documented in docs/wire.md): the request carries `Myelin-Stream: <credit>`; each item comes to the reply
// subject as a message `Myelin-Stream: <n>` counting from 1, whose own reply subject takes `+<credit>` and `cancel`;
// `Myelin-Stream: end <count>` ends it, with error headers if it failed; `Myelin-Stream: beat` says it is alive.
import type { Msg } from '@nats-io/nats-core'
import {
  codeAndMessage,
  codecFor,
  failure,
  header,
  MyelinError,
  now,
  PendingReply,
  readHeaders,
  rpcSpan,
  tracingOn,
} from '../bus/internal.ts'
import { endpointSubject, parse } from '../contract/internal.ts'
import { type CallOptions, cancelThere, cancelWith, requestLines, type Target, type Within } from './call.ts'
import { errorOf } from './errors.ts'

/** Items on their way and not yet taken; the bound of the caller's memory. */
const window = 256
/** A sender that has nothing to send says so this often. */
export const streamBeatMs = 2_000
/** Silence after which either side takes the other for gone. */
export const streamSilenceMs = 10_000

/** The mutable deadline of a stream: silence, or the caller's own end. */
class OpenStream extends PendingReply implements AsyncIterableIterator<unknown>, AsyncDisposable {
  readonly #target: Target
  readonly #hardDeadline: number
  readonly #buffer: unknown[] = []
  /** Those who asked for an item before there was one, in the order they asked. */
  readonly #waiting: {
    resolve(result: IteratorResult<unknown> | Promise<IteratorResult<unknown>>): void
    reject(error: unknown): void
  }[] = []
  #received = 0
  #taken = 0
  #control = ''
  #ended: { error?: unknown } | undefined
  readonly #onEnd: (error: unknown) => void

  constructor(target: Target, subject: string, hardDeadline: number, onEnd: (error: unknown) => void) {
    super(subject, Math.min(hardDeadline, now() + streamSilenceMs))
    this.#target = target
    this.#hardDeadline = hardDeadline
    this.#onEnd = onEnd
  }

  onReply(message: Msg): void {
    const headers = readHeaders(message)
    const { endpoint } = this.#target
    const where = `${this.#target.service}.${this.#target.name}`
    if (message.reply) this.#control = message.reply
    const mark = headers.get(header.stream) ?? ''
    const error = errorOf(headers, message.data, endpoint, where)
    if (error) return this.#end(error)
    if (mark.startsWith('end')) {
      const lost = Number(mark.slice(4)) - this.#received
      return this.#end(
        lost === 0 ? undefined : failure('STREAM_BROKEN', `${lost} items of ${where} were lost on the way`),
      )
    }
    this.#heard()
    if (mark === 'beat') return
    if (Number(mark) !== this.#received + 1)
      return this.#end(failure('STREAM_BROKEN', `an item of ${where} was lost on the way`))
    this.#received += 1
    try {
      const value = codecFor(headers.get(header.contentType)).decode(message.data)
      this.#give(
        this.#target.checkReplies ? parse(this.#target.out, value, 'INVALID_REPLY', `item of ${where}`) : value,
      )
    } catch (cause) {
      this.#cancel()
      this.#end(cause)
    }
  }

  onFailure(error: MyelinError): void {
    if (error.code === 'CANCELLED' || error.code === 'DEADLINE_EXCEEDED') this.#cancel()
    const silent = error.code === 'DEADLINE_EXCEEDED' && now() < this.#hardDeadline
    this.#end(silent ? failure('STREAM_BROKEN', `${this.#target.service}.${this.#target.name} fell silent`) : error)
  }

  async next(): Promise<IteratorResult<unknown>> {
    if (this.#buffer.length > 0) return this.#take(this.#buffer.shift())
    if (this.#ended) {
      if (this.#ended.error !== undefined) {
        const { error } = this.#ended
        this.#ended = {}
        throw error
      }
      return { done: true, value: undefined }
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
    })
  }

  async return(): Promise<IteratorResult<unknown>> {
    if (!this.#ended) {
      this.#cancel()
      this.#end(undefined)
    }
    this.#buffer.length = 0
    return { done: true, value: undefined }
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
  [Symbol.asyncIterator](): this {
    return this
  }

  #give(value: unknown): void {
    const waiting = this.#waiting.shift()
    if (!waiting) {
      if (value instanceof Promise) value.catch(() => undefined) // thrown when the item is taken
      this.#buffer.push(value)
      return
    }
    waiting.resolve(this.#take(value))
  }

  /** Hands an item out; a promise where the schema is asynchronous. */
  #take(value: unknown): IteratorResult<unknown> | Promise<IteratorResult<unknown>> {
    if (value instanceof Promise) {
      return value.then(
        (parsed) => this.#take(parsed),
        (cause) => {
          if (!this.#ended) this.#cancel()
          this.#end(cause)
          this.#ended = {} // the error leaves here
          this.#buffer.length = 0
          throw cause
        },
      )
    }
    this.#taken += 1
    // credit goes back in halves of the window, not one by one
    if (this.#taken >= window / 2 && !this.#ended) {
      this.#say(`+${this.#taken}`)
      this.#taken = 0
    }
    return { done: false, value }
  }

  #end(error: unknown): void {
    if (this.#ended) return
    this.finish()
    this.#ended = error === undefined ? {} : { error }
    this.#onEnd(error)
    // the first who waits gets the error; for the others it is over
    for (const waiting of this.#waiting.splice(0)) {
      if (this.#ended.error === undefined) waiting.resolve({ done: true, value: undefined })
      else {
        this.#ended = {}
        waiting.reject(error)
      }
    }
  }

  #heard(): void {
    this.deadline = Math.min(this.#hardDeadline, now() + streamSilenceMs)
  }

  override onDeadline(): void {
    // the deadline moved on while the wheel came round
    if (this.deadline > now()) this.watch()
    else super.onDeadline()
  }

  #say(text: string): void {
    if (this.#control !== '' && this.#target.bus.connected) this.#target.bus.publish(this.#control, Buffer.from(text))
  }
  #cancel(): void {
    if (this.#control === '') cancelThere(this.#target, this.reply)
    else this.#say('cancel')
  }

  /** Shows a sender that waits for credit that its reader is alive. */
  keepAlive(): void {
    this.#say('+0')
  }
}

/** Opens a streamed reply. The request leaves at once; errors come out of the iterator. */
export function openStream(
  target: Target,
  input: unknown,
  options: CallOptions | undefined,
  within: Within | undefined,
): AsyncIterableIterator<unknown> & AsyncDisposable {
  const hardDeadline = Math.min(
    options?.timeoutMs === undefined ? Number.POSITIVE_INFINITY : now() + options.timeoutMs,
    options?.deadline ?? Number.POSITIVE_INFINITY,
    within?.deadline ?? Number.POSITIVE_INFINITY,
  )
  let ended: () => void = () => undefined
  const end = new Promise<void>((resolve) => {
    ended = resolve
  })
  const subject = endpointSubject(target.service, target.name)
  const span = tracingOn() ? rpcSpan('client', target.service, target.name, subject, within?.trace) : undefined
  const stream = new OpenStream(target, subject, hardDeadline, (error) => {
    clearInterval(alive)
    span?.end(error === undefined ? undefined : codeAndMessage(error))
    ended()
  })
  const alive = setInterval(() => stream.keepAlive(), streamBeatMs)
  alive.unref()
  try {
    const deadline = Number.isFinite(hardDeadline) ? hardDeadline : undefined
    const lines = requestLines(target, deadline, options, span ? span.trace : within?.trace)
    target.bus.start(stream, target.codec.encode(input), `${lines}${header.stream}:${window}\r\n`)
    if (options?.signal || within) cancelWith(stream, end, options?.signal, within?.signal)
  } catch (error) {
    stream.onFailure(error instanceof MyelinError ? error : failure('INTERNAL', String(error), { cause: error }))
  }
  return stream
}
