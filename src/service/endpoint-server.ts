// The service's side of request/reply: one instance of one endpoint. Hot path: a handler that returns a plain value is
// answered in the same turn of the event loop; nothing is allocated per call but its context.
import type { Msg } from '@nats-io/nats-core'
import {
  type BusSubscription,
  boundedText,
  type Codec,
  codecFor,
  failure,
  type HeaderReader,
  header,
  headerLine,
  MyelinError,
  now,
  readDeadline,
  readHeaders,
  rpcSpan,
  type Traced,
  traceOf,
  tracingOn,
} from '../bus/internal.ts'
import {
  type EndpointDefinition,
  endpointSubject,
  everyInstanceSubject,
  isStream,
  parse,
  queueGroup,
  type Schema,
} from '../contract/internal.ts'
import { fetchClaim, storeClaim } from './claim-check.ts'
import { HandlerContext, type Scope } from './context.ts'
import { encodeError, publicError, rejection } from './errors.ts'
import { Latencies } from './latency.ts'
import { type Handle, isThenable } from './middleware.ts'
import { sendStream } from './stream-reply.ts'

/** Counters of an endpoint, as ADR-32's STATS wants them; times in nanoseconds. */
export interface EndpointStats {
  requests: number
  errors: number
  lastError: string
  processingNs: number
}

/** Requests under way by their reply subject, so that a caller's cancel finds them. */
export type InFlight = Map<string, HandlerContext>

export class EndpointServer {
  readonly name: string
  readonly subject: string
  readonly endpoint: EndpointDefinition
  readonly stats: EndpointStats = { requests: 0, errors: 0, lastError: '', processingNs: 0 }
  readonly latencies = new Latencies()
  readonly #scope: Scope
  readonly #handle: Handle
  readonly #inFlight: InFlight
  readonly #limit: number
  readonly #where: string
  readonly #timeoutMs: number
  readonly #out: Schema
  #running = 0
  #subscriptions: BusSubscription[] = []
  #idle: (() => void) | undefined

  constructor(scope: Scope, name: string, endpoint: EndpointDefinition, handle: Handle, inFlight: InFlight) {
    this.name = name
    this.subject = endpointSubject(scope.service, name)
    this.endpoint = endpoint
    this.#scope = scope
    this.#handle = handle
    this.#inFlight = inFlight
    this.#limit = endpoint.maxInFlight ?? 1_024
    this.#where = `${scope.service}.${name}`
    this.#timeoutMs = endpoint.timeoutMs ?? 5_000
    this.#out = isStream(endpoint.out) ? endpoint.out.stream : endpoint.out
  }

  get running(): number {
    return this.#running
  }

  listen(): void {
    const { bus, service } = this.#scope
    const receive = (message: Msg) => this.#receive(message)
    this.#subscriptions = [
      bus.subscribe(this.subject, receive, { queue: queueGroup }),
      bus.subscribe(everyInstanceSubject(service, this.name), receive),
    ]
  }

  /** Takes no new requests and resolves when those under way are answered. */
  async drain(): Promise<void> {
    await Promise.all(this.#subscriptions.map((subscription) => subscription.drain()))
    if (this.#running > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
  }

  #receive(message: Msg): void {
    const started = performance.now()
    const headers = readHeaders(message)
    const arrived = now()
    const streaming = headers.get(header.stream)
    const deadline =
      readDeadline(headers, arrived) ?? (streaming === undefined ? arrived + this.#timeoutMs : Number.POSITIVE_INFINITY)
    if (this.#running >= this.#limit) {
      return this.#reject(
        message,
        started,
        failure('OVERLOADED', `${this.#where}: ${this.#limit} calls are under way in this instance`),
      )
    }
    if (deadline <= arrived)
      return this.#reject(
        message,
        started,
        failure('DEADLINE_EXCEEDED', `${this.#where}: the deadline had passed on arrival`),
      )
    let codec: Codec
    let input: unknown
    try {
      codec = codecFor(headers.get(header.contentType))
      const claim = headers.get(header.claim)
      input =
        claim === undefined
          ? this.#parse(codec.decode(message.data))
          : fetchClaim(this.#scope.bus, claim, { deadline }).then((data) => this.#parse(codec.decode(data)))
    } catch (error) {
      return this.#reject(message, started, error)
    }
    const context = new HandlerContext(this.#scope, headers, this.subject, deadline)
    this.#running += 1
    const reply = message.reply ?? ''
    if (reply !== '') this.#inFlight.set(reply, context)
    context.onEnd = (why) => {
      // the handler may run on (its signal says stop), but whoever waits gets an answer now
      if (why === 'deadline')
        this.#fail(
          message,
          context,
          started,
          rejection(failure('DEADLINE_EXCEEDED', `${this.#where}: the handler did not finish in time`)),
        )
      else this.#count(started, undefined) // cancelled: received, and nobody's failure
    }
    const span = tracingOn()
      ? rpcSpan('server', this.#scope.service, this.name, this.subject, traceOf(headers))
      : undefined
    if (span) context.span = span.trace
    if (input instanceof Promise) {
      input.then(
        (parsed) => this.#run(message, context, started, headers, parsed, codec, span),
        (error) =>
          this.#settle(message, context, started, error instanceof MyelinError ? rejection(error) : error, span),
      )
    } else this.#run(message, context, started, headers, input, codec, span)
  }

  #parse(value: unknown): unknown {
    return parse(this.endpoint.in, value, 'INVALID_INPUT', this.#where)
  }

  #run(
    message: Msg,
    context: HandlerContext,
    started: number,
    headers: HeaderReader,
    input: unknown,
    codec: Codec,
    span: Traced | undefined,
  ): void {
    let output: unknown
    try {
      output = span ? span.run(() => this.#handle(input, context)) : this.#handle(input, context)
    } catch (error) {
      return this.#settle(message, context, started, error, span)
    }
    if (isStream(this.endpoint.out)) {
      const credit = Number(headers.get(header.stream) ?? Number.POSITIVE_INFINITY)
      sendStream(
        {
          scope: this.#scope,
          endpoint: this.endpoint,
          out: this.#out,
          where: this.#where,
          codec,
          context,
          reply: message.reply ?? '',
          credit,
        },
        output,
      ).then(
        () => this.#done(message, context, started, span),
        (error) => this.#settle(message, context, started, error, span, true),
      )
    } else if (isThenable(output)) {
      output.then(
        (value) => this.#answer(message, context, started, value, codec, span),
        (error) => this.#settle(message, context, started, error, span),
      )
    } else this.#answer(message, context, started, output, codec, span)
  }

  #answer(
    message: Msg,
    context: HandlerContext,
    started: number,
    output: unknown,
    codec: Codec,
    span: Traced | undefined,
  ): void {
    try {
      const checked = parse(this.#out, output, 'INVALID_REPLY', `handler of ${this.#where}`)
      if (checked instanceof Promise) {
        checked
          .then(() => this.#send(message, context, started, output, codec, span))
          .catch((error) => this.#settle(message, context, started, error, span))
      } else this.#send(message, context, started, output, codec, span)
    } catch (error) {
      this.#settle(message, context, started, error, span)
    }
  }

  #send(
    message: Msg,
    context: HandlerContext,
    started: number,
    output: unknown,
    codec: Codec,
    span: Traced | undefined,
  ): void {
    if (context.ended || !message.reply) return this.#done(message, context, started, span)
    const { bus } = this.#scope
    const data = codec.encode(output)
    const lines = codec.contentType === 'application/json' ? '' : headerLine(header.contentType, codec.contentType)
    const reply = message.reply
    if (data.length + lines.length + 64 <= bus.maxPayloadBytes) {
      bus.publish(reply, data, lines)
      return this.#done(message, context, started, span)
    }
    if (!this.endpoint.claimCheck) {
      const error = failure(
        'PAYLOAD_TOO_LARGE',
        `the reply of ${this.#where} has ${data.length} bytes; the server takes ${bus.maxPayloadBytes}`,
      )
      return this.#settle(message, context, started, rejection(error), span)
    }
    storeClaim(bus, data, { deadline: context.deadline, signal: context.signal })
      .then((claim) => {
        bus.publish(reply, new Uint8Array(0), lines + headerLine(header.claim, claim))
        this.#done(message, context, started, span)
      })
      .catch((error) =>
        this.#settle(message, context, started, error instanceof MyelinError ? rejection(error) : error, span),
      )
  }

  #reject(message: Msg, started: number, error: unknown): void {
    const rejected =
      error instanceof MyelinError ? error : failure('INTERNAL', `${this.#where} failed`, { cause: error })
    this.#count(started, rejected)
    this.#reply(message, rejected)
  }

  /** The handler failed: the caller gets what the contract allows, the log gets the rest. */
  #settle(
    message: Msg,
    context: HandlerContext,
    started: number,
    error: unknown,
    span: Traced | undefined,
    streamed = false,
  ): void {
    const answer = publicError(error, this.#where, this.endpoint)
    if (answer.code === 'INTERNAL')
      this.#scope.log.error(
        { err: error, endpoint: this.name, traceparent: context.trace?.traceparent },
        `${this.#where} failed`,
      )
    if (!context.ended) {
      this.#count(started, answer)
      if (!streamed) this.#reply(message, answer)
    }
    span?.end({ code: answer.code, message: answer.message })
    this.#leave(message, context)
  }

  #fail(message: Msg, _context: HandlerContext, started: number, error: MyelinError): void {
    this.#count(started, error)
    this.#reply(message, error)
  }

  #done(message: Msg, context: HandlerContext, started: number, span: Traced | undefined): void {
    if (!context.ended) this.#count(started, undefined)
    span?.end()
    this.#leave(message, context)
  }

  #leave(message: Msg, context: HandlerContext): void {
    context.end('done')
    if (message.reply) this.#inFlight.delete(message.reply)
    this.#running -= 1
    if (this.#running === 0 && this.#idle) this.#idle()
  }

  #count(started: number, error: MyelinError | undefined): void {
    this.stats.requests += 1
    const tookMs = performance.now() - started
    this.stats.processingNs += tookMs * 1e6
    this.latencies.add(tookMs)
    if (error) {
      this.stats.errors += 1
      this.stats.lastError = boundedText(`${error.code}: ${error.message}`, 300)
    }
  }

  #reply(message: Msg, error: MyelinError): void {
    if (!message.reply || !this.#scope.bus.connected) return
    const { bus, log } = this.#scope
    const { data, headerLines } = encodeError(error, bus.maxPayloadBytes)
    try {
      bus.publish(message.reply, data, headerLines)
    } catch (cause) {
      log.warn({ err: cause, endpoint: this.name }, `${this.#where}: the caller could not be sent ${error.code}`)
    }
  }
}
