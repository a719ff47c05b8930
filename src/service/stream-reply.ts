// Streamed replies, the handler's side: items leave as the caller's credit allows. See stream-call.ts for the protocol.
import { setTimeout as sleep } from 'node:timers/promises'
import { createInbox } from '@nats-io/nats-core'
import { type Codec, failure, header, headerLine, now } from '../bus/internal.ts'
import { type EndpointDefinition, parse, type Schema } from '../contract/internal.ts'
import type { HandlerContext, Scope } from './context.ts'
import { encodeError, publicError, rejection } from './errors.ts'
import { streamBeatMs, streamSilenceMs } from './stream-call.ts'

interface StreamedReply {
  readonly scope: Scope
  readonly endpoint: EndpointDefinition
  readonly out: Schema
  readonly where: string
  readonly codec: Codec
  readonly context: HandlerContext
  readonly reply: string
  /** Items the caller has room for; infinite for callers that do not take part in flow control. */
  readonly credit: number
}

/** Sends what the handler yields. Resolves when all is sent; rejects, after the caller got the error, when the handler fails. */
export async function sendStream(stream: StreamedReply, output: unknown): Promise<void> {
  const { scope, context, reply, where } = stream
  if (reply === '')
    throw rejection(failure('INVALID_INPUT', `${where} streams its reply: the request needs a reply subject`))
  const { bus } = scope
  const control = createInbox(bus.limits.inboxPrefix)
  const limited = Number.isFinite(stream.credit)
  let credit = stream.credit
  let lastHeard = now()
  let wake: (() => void) | undefined
  let leave: (() => void) | undefined
  let sent = 0
  const stop = () => {
    wake?.()
    leave?.()
  }
  const subscription = bus.subscribe(control, (message) => {
    lastHeard = now()
    const text = message.string()
    if (text === 'cancel') context.end('cancelled')
    else if (/^\+\d+$/.test(text)) credit += Number(text.slice(1))
    wake?.()
  })
  const beat = setInterval(() => {
    if (limited && now() - lastHeard > streamSilenceMs) context.end('cancelled')
    else if (bus.connected) bus.publish(reply, new Uint8Array(0), `${header.stream}:beat\r\n`, control)
    wake?.()
  }, streamBeatMs)
  const contentType =
    stream.codec.contentType === 'application/json' ? '' : headerLine(header.contentType, stream.codec.contentType)
  context.signal.addEventListener('abort', stop, { once: true })
  let source: AsyncIterator<unknown> | Iterator<unknown> | undefined
  /** The handler's next item, or undefined when nobody waits for it any more. */
  const next = () =>
    new Promise<IteratorResult<unknown> | undefined>((resolve, reject) => {
      leave = () => resolve(undefined)
      Promise.resolve(source!.next()).then(resolve, reject)
    })
  let exhausted = false
  try {
    source = iteratorOf(output, where)
    while (!context.ended) {
      exhausted = true // an iterator that throws has ended
      const step = await next()
      exhausted = step?.done === true
      if (!step || step.done) break
      const item = await step.value
      while (credit <= 0 && !context.ended) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      if (context.ended) break
      await parse(stream.out, item, 'INVALID_REPLY', `item of ${where}`)
      const data = stream.codec.encode(item)
      if (data.length + contentType.length + 64 > bus.maxPayloadBytes) {
        throw rejection(
          failure(
            'PAYLOAD_TOO_LARGE',
            `an item of ${where} has ${data.length} bytes; the server takes ${bus.maxPayloadBytes}`,
          ),
        )
      }
      sent += 1
      credit -= 1
      bus.publish(reply, data, `${header.stream}:${sent}\r\n${contentType}`, control)
      const congested = bus.flow()
      // one that nobody waits for does not wait for a server that is away
      if (congested) {
        await new Promise<void>((resolve) => {
          leave = resolve
          congested.then(resolve, resolve)
        })
      }
    }
    if (!context.ended) bus.publish(reply, new Uint8Array(0), `${header.stream}:end ${sent}\r\n`)
    else if (context.signal.reason?.code === 'DEADLINE_EXCEEDED') throw rejection(context.signal.reason)
  } catch (error) {
    const { data, headerLines } = encodeError(publicError(error, where, stream.endpoint), bus.maxPayloadBytes)
    if (bus.connected) bus.publish(reply, data, `${header.stream}:end ${sent}\r\n${headerLines}`)
    throw error
  } finally {
    clearInterval(beat)
    subscription.unsubscribe()
    context.signal.removeEventListener('abort', stop)
    // a handler that waits for something is stopped by its iterator's `return`, and by its signal
    if (!exhausted && source) await returned(source)
  }
}

/** How long a handler that is not wanted any more may take to end; one that does not hear it is left alone. */
const endingMs = 1_000

async function returned(source: AsyncIterator<unknown> | Iterator<unknown>): Promise<void> {
  const late = sleep(endingMs, undefined, { ref: false })
  try {
    await Promise.race([source.return?.(), late])
  } catch {
    // nobody is left to get the error
  }
}

function iteratorOf(output: unknown, where: string): AsyncIterator<unknown> | Iterator<unknown> {
  const source = output as Partial<AsyncIterable<unknown> & Iterable<unknown>> | null | undefined
  const iterator = source?.[Symbol.asyncIterator]?.() ?? source?.[Symbol.iterator]?.()
  if (!iterator) throw new TypeError(`the handler of ${where} gave nothing that can be iterated`)
  return iterator
}
