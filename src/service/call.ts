// One call to one instance. Hot path: a single object carries the call through the reply map and the deadline wheel,
// and one promise is made for it; at 256 in flight this leaves about 75 % of what a bare reply map reaches.
import type { Msg } from '@nats-io/nats-core'
import {
  type Bus,
  type Codec,
  codeAndMessage,
  codecFor,
  deadlineLines,
  failure,
  header,
  headerLine,
  headerLines,
  type MyelinError,
  now,
  PendingReply,
  readHeaders,
  rpcSpan,
  type TraceContext,
  traceLines,
  tracingOn,
} from '../bus/internal.ts'
import { cancelSubject, type EndpointDefinition, endpointSubject, parse, type Schema } from '../contract/internal.ts'
import { bounded, CallLimits } from './bounded.ts'
import { fetchClaim, forgetClaim, storeClaim } from './claim-check.ts'
import { errorOf } from './errors.ts'

/** How long a call may take, and what is sent with it. */
export interface CallOptions {
  /** Default: the endpoint's own, then 5 s. Never reaches past the deadline of the work the call is made in. */
  timeoutMs?: number
  /** Absolute, in ms of `now()` of `myelin/bus`, which is `Date.now()` as long as nobody sets the clock. */
  deadline?: number
  /** Cancels the call here and its handler on the other side. */
  signal?: AbortSignal
  /** More headers to send. */
  headers?: Record<string, string>
}

/** What all calls of one client to one endpoint share. */
export interface Target {
  readonly bus: Bus
  readonly service: string
  readonly name: string
  readonly endpoint: EndpointDefinition
  readonly out: Schema
  /** Header lines sent with every call: caller, tenant, content type. */
  readonly lines: string
  readonly timeoutMs: number
  readonly codec: Codec
  readonly checkReplies: boolean
}

/** The work a call is made in: its deadline bounds the call's, its end cancels the call, its trace goes on. */
export interface Within {
  readonly deadline: number
  readonly trace: TraceContext | undefined
  readonly signal: AbortSignal
}

/** @internal a call waiting for its one reply */
class Call extends PendingReply {
  readonly #target: Target
  readonly #resolve: (value: unknown) => void
  readonly #reject: (error: unknown) => void

  constructor(
    target: Target,
    subject: string,
    deadline: number,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    super(subject, deadline)
    this.#target = target
    this.#resolve = resolve
    this.#reject = reject
  }

  onReply(message: Msg): void {
    this.finish()
    try {
      this.#resolve(readReply(this.#target, message, this.deadline))
    } catch (error) {
      this.#reject(error)
    }
  }

  onFailure(error: MyelinError): void {
    if (error.code === 'DEADLINE_EXCEEDED' || error.code === 'CANCELLED') cancelThere(this.#target, this.reply)
    this.#reject(error)
  }
}

/** Decodes and parses a reply, or throws the error it carries; a promise where the schema or a claim needs one. */
export function readReply(target: Target, message: Msg, deadline: number): unknown {
  const headers = readHeaders(message)
  const where = `${target.service}.${target.name}`
  const error = errorOf(headers, message.data, target.endpoint, where)
  if (error) throw error
  const codec = codecFor(headers.get(header.contentType))
  const claim = headers.get(header.claim)
  if (claim !== undefined) {
    const limits = new CallLimits(deadline, undefined, undefined)
    const fetched = fetchClaim(target.bus, claim, { deadline })
    return bounded(fetched, limits, `the call to ${where}, whose reply was being fetched,`).then((data) => {
      forgetClaim(target.bus, claim) // nobody else has its ticket
      return finishReply(target, codec.decode(data), where)
    })
  }
  return finishReply(target, codec.decode(message.data), where)
}

function finishReply(target: Target, value: unknown, where: string): unknown {
  return target.checkReplies ? parse(target.out, value, 'INVALID_REPLY', `reply of ${where}`) : value
}

/** Asks whoever handles the request to stop: nobody waits for its answer any more. */
export function cancelThere(target: Target, reply: string): void {
  if (reply === '' || !target.bus.connected) return
  target.bus.publish(cancelSubject(target.service), Buffer.from(reply))
}

/** When a call ends, from its options, its endpoint and the work it is made in. */
export function deadlineOf(target: Target, options: CallOptions | undefined, within: Within | undefined): number {
  let deadline = now() + (options?.timeoutMs ?? target.timeoutMs)
  if (options?.deadline !== undefined && options.deadline < deadline) deadline = options.deadline
  if (within && within.deadline < deadline) deadline = within.deadline
  return deadline
}

/** Header lines of one request. */
export function requestLines(
  target: Target,
  deadline: number | undefined,
  options: CallOptions | undefined,
  trace: TraceContext | undefined,
): string {
  let lines = target.lines
  if (deadline !== undefined) lines += deadlineLines(deadline)
  if (trace) lines += traceLines(trace)
  if (options?.headers) lines += headerLines(options.headers)
  return lines
}

/** Calls one instance of the service. Resolves with the parsed reply. */
export function callOnce(
  target: Target,
  input: unknown,
  options: CallOptions | undefined,
  within: Within | undefined,
): Promise<unknown> {
  const deadline = deadlineOf(target, options, within)
  const subject = endpointSubject(target.service, target.name)
  if (!tracingOn()) return send(target, subject, input, deadline, options, within?.trace, within)
  const span = rpcSpan('client', target.service, target.name, subject, within?.trace)
  return send(target, subject, input, deadline, options, span.trace, within).then(
    (value) => {
      span.end()
      return value
    },
    (error) => {
      span.end(codeAndMessage(error))
      throw error
    },
  )
}

function send(
  target: Target,
  subject: string,
  input: unknown,
  deadline: number,
  options: CallOptions | undefined,
  trace: TraceContext | undefined,
  within: Within | undefined,
): Promise<unknown> {
  let pending: Call | undefined
  const promise = new Promise<unknown>((resolve, reject) => {
    const call = new Call(target, subject, deadline, resolve, reject)
    pending = call
    if (deadline <= now())
      throw failure('DEADLINE_EXCEEDED', `the deadline of the call to ${subject} had passed before it was sent`)
    if (options?.signal?.aborted) throw failure('CANCELLED', `the call to ${subject} was cancelled before it was sent`)
    const data = target.codec.encode(input)
    const lines = requestLines(target, deadline, options, trace)
    if (target.endpoint.claimCheck && data.length + lines.length + 64 > target.bus.maxPayloadBytes) {
      bounded(
        storeClaim(target.bus, data, { deadline, signal: options?.signal }),
        new CallLimits(deadline, options?.signal, within),
        `the call to ${subject}, whose payload was being stored,`,
      )
        .then((claim) => {
          const forget = () => forgetClaim(target.bus, claim)
          promise.then(forget, forget)
          if (options?.signal?.aborted || within?.signal.aborted)
            throw failure('CANCELLED', `the call to ${subject} was cancelled before it was sent`)
          target.bus.start(call, new Uint8Array(0), lines + headerLine(header.claim, claim))
        })
        .catch(reject)
      return
    }
    target.bus.start(call, data, lines)
  })
  if (pending && (options?.signal || within)) cancelWith(pending, promise, options?.signal, within?.signal)
  return promise
}

/** Ties a pending reply to the signals that may cancel it, until it ends. */
export function cancelWith(
  pending: PendingReply,
  end: Promise<unknown>,
  ...signals: (AbortSignal | undefined)[]
): void {
  const cancel = () => pending.fail(failure('CANCELLED', `the call to ${pending.subject} was cancelled`))
  const forget = () => {
    for (const signal of signals) signal?.removeEventListener('abort', cancel)
  }
  for (const signal of signals) {
    if (signal?.aborted) cancel()
    else signal?.addEventListener('abort', cancel, { once: true })
  }
  end.then(forget, forget)
}
