// Scatter/gather: one question to every instance, and their answers until enough, too late, or nothing more comes.
import type { Msg } from '@nats-io/nats-core'
import { failure, gather, MyelinError, rpcSpan, sentIn, type TraceContext, tracingOn } from '../bus/internal.ts'
import { everyInstanceSubject } from '../contract/internal.ts'
import { cancelThere, cancelWith, deadlineOf, readReply, requestLines, type Target, type Within } from './call.ts'

export interface GatherOptions {
  /** Enough answers; default: as many as come. */
  count?: number
  /** The longest the whole may take. Default: the endpoint's timeout. */
  timeoutMs?: number
  /** Ends when no further answer came for this long after the last one. Default 300 ms. */
  stallMs?: number
  signal?: AbortSignal
}

/** One instance's answer: its value, or the error it answered with. */
export type GatheredReply<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: MyelinError }

/** @throws MyelinError NO_RESPONDERS, CANCELLED, DISCONNECTED; a passed deadline just ends the gathering */
export function gatherFrom(
  target: Target,
  input: unknown,
  options: GatherOptions,
  within: Within | undefined,
): Promise<GatheredReply<unknown>[]> {
  const subject = everyInstanceSubject(target.service, target.name)
  const stallMs = options.stallMs ?? 300
  const count = options.count ?? Number.POSITIVE_INFINITY
  if (!(count >= 1))
    return Promise.reject(failure('INVALID_OPTION', `gather: count must be at least 1, got ${options.count}`))
  const deadline = deadlineOf(
    target,
    options.timeoutMs === undefined ? undefined : { timeoutMs: options.timeoutMs },
    within,
  )
  const span = tracingOn() ? rpcSpan('client', target.service, target.name, subject, within?.trace) : undefined
  return sentIn(span, within?.trace, (trace) =>
    ask(target, subject, input, deadline, { ...options, stallMs, count }, within, trace),
  )
}

/** Asks all and resolves with their answers. */
async function ask(
  target: Target,
  subject: string,
  input: unknown,
  deadline: number,
  { stallMs, count, signal }: { stallMs: number; count: number; signal?: AbortSignal },
  within: Within | undefined,
  trace: TraceContext | undefined,
): Promise<GatheredReply<unknown>[]> {
  const replies: Promise<GatheredReply<unknown>>[] = []
  const asked = gather(target.bus, subject, target.codec.encode(input), {
    until: (message) => replies.push(readOne(target, message, deadline)) >= count,
    deadline,
    quietMs: stallMs,
    headerLines: requestLines(target, deadline, undefined, trace),
  })
  cancelWith(asked, asked.ended, signal, within?.signal)
  // those that have not answered need not go on
  const cancel = () => cancelThere(target, asked.reply)
  try {
    await asked.ended
    cancel()
  } catch (error) {
    if (error instanceof MyelinError && error.code === 'CANCELLED') cancel()
    throw error
  }
  return Promise.all(replies)
}

async function readOne(target: Target, message: Msg, deadline: number): Promise<GatheredReply<unknown>> {
  try {
    return { ok: true, value: await readReply(target, message, deadline) }
  } catch (error) {
    return {
      ok: false,
      error: error instanceof MyelinError ? error : failure('INVALID_REPLY', String(error), { cause: error }),
    }
  }
}
