// Queueing: putting a job into its work queue.
import { nuid } from '@nats-io/nats-core'
import {
  type Bus,
  checkedId,
  codecs,
  ensureOnce,
  failure,
  header,
  headerLine,
  lastMessage,
  MyelinError,
  messagingSpan,
  now,
  type Persisted,
  persistIn,
  sentIn,
  type TraceContext,
  traceLines,
  tracingOn,
} from '../bus/internal.ts'
import {
  type Contract,
  delayedUniqueSubject,
  everyUniqueSubject,
  type InputOf,
  type JobDefinition,
  jobStream,
  jobSubject,
  parse,
  subjectToken,
} from '../contract/internal.ts'
import { boundedIfNeeded, CallLimits } from './bounded.ts'
import type { Within } from './call.ts'
import { deadLetterSpec, jobStreamSpec } from './streams.ts'

export interface EnqueueOptions {
  /** Deduplication id: the same id within two minutes is stored once. Default: a new one. */
  id?: string
  /** Not before this many milliseconds from now. */
  delayMs?: number
  /** How long storing may take, waits for a full stream included. Default 30 s. */
  timeoutMs?: number
  /** Ends the wait; the job may have been stored by then. */
  signal?: AbortSignal
  /** The trace it belongs to. Default: that of the active span, else of the work it is enqueued in. */
  trace?: TraceContext | undefined
}

export interface Enqueued {
  readonly sequence: number
  /** A job of this id was there before; nothing was added. */
  readonly duplicate: boolean
}

export interface JobClient<Job extends JobDefinition> {
  /**
   * Resolves when the job is stored.
   * @throws MyelinError INVALID_INPUT, ALREADY_QUEUED (unique key), STREAM_FULL, JETSTREAM_DISABLED, PAYLOAD_TOO_LARGE
   */
  enqueue(payload: InputOf<Job['payload']>, options?: EnqueueOptions): Promise<Enqueued>
}

const longestDelayMs = 100 * 365.25 * 86_400_000

/** What the server says when a unique key is there already. */
const taken = new Set(['ALREADY_QUEUED', 'WRONG_SEQUENCE'])

/** A message that the server takes only while there is none of these subjects in its stream. */
const onlyIfNone = (subjects: string) =>
  headerLine('Nats-Expected-Last-Subject-Sequence', '0') +
  headerLine('Nats-Expected-Last-Subject-Sequence-Subject', subjects)

export function jobClient(
  bus: Bus,
  contract: Contract,
  name: string,
  job: JobDefinition,
  lines: string,
  within: Within | undefined,
): JobClient<JobDefinition> {
  const where = `${contract.name}.${name}`
  const typeLine = bus.codec === codecs.json ? '' : headerLine(header.contentType, bus.codec.contentType)
  return {
    async enqueue(payload, options = {}) {
      await parse(job.payload, payload, 'INVALID_INPUT', `job ${where}`)
      const base = jobSubject(contract.name, name)
      const key =
        job.unique === undefined
          ? undefined
          : subjectToken((payload as Record<string, unknown>)[job.unique], `job ${where}: unique key "${job.unique}"`)
      const target = key === undefined ? base : `${base}.${key}`
      const data = bus.codec.encode(payload)
      const id = options.id === undefined ? nuid.next() : checkedId(options.id, `job ${where}`)
      let headerLines = lines + typeLine + headerLine(header.messageId, id)
      // one condition for both places, so that a key is waiting once, with a delay or without
      if (key !== undefined) headerLines += onlyIfNone(everyUniqueSubject(contract.name, key))
      let subject = target
      const { delayMs = 0 } = options
      if (!(delayMs >= 0 && delayMs <= longestDelayMs))
        throw failure('INVALID_OPTION', `job ${where}: delayMs must be from 0 to 100 years, got ${delayMs}`)
      if (delayMs > 0) {
        // the server itself publishes it at its time (ADR-51): no process has to stay up for it
        subject = key === undefined ? `${base}._at.${nuid.next()}` : delayedUniqueSubject(contract.name, name, key)
        const at = new Date(Math.ceil((Date.now() + delayMs) / 1_000) * 1_000).toISOString().replace(/\.\d+Z$/, 'Z')
        headerLines += headerLine('Nats-Schedule', `@at ${at}`) + headerLine('Nats-Schedule-Target', target)
      }
      const limits = new CallLimits(now() + (options.timeoutMs ?? 30_000), options.signal, within)
      const { deadline } = limits
      const mayEnd = within !== undefined || options.signal !== undefined
      const what = `storing job ${where}`
      await boundedIfNeeded(ensureOnce(bus, deadLetterSpec(contract.name)), bus, limits, mayEnd, what)
      const spec = jobStreamSpec(contract, name)
      const from = options.trace ?? within?.trace
      const span = tracingOn() ? messagingSpan('send', { destination: base, subject: target, id }, from) : undefined
      const storing = sentIn(span, from, (trace) => {
        const traced = headerLines + traceLines(trace)
        return persistIn(bus, spec, subject, data, { deadline, headerLines: traced, deduplicated: true })
      })
      const stored = await boundedIfNeeded(storing, bus, limits, mayEnd, what).catch(
        async (error): Promise<Pick<Persisted, 'sequence' | 'duplicate'>> => {
          if (key === undefined || !(error instanceof MyelinError) || !taken.has(error.code)) throw error
          // the server looks at the key before it looks at the id: it may be this very job, sent again
          const there = await lastMessage(bus, jobStream(contract.name, name), everyUniqueSubject(contract.name, key))
          if (there?.headers.get(header.messageId) === id) return { sequence: there.sequence, duplicate: true }
          throw failure('ALREADY_QUEUED', `job ${where}: one with ${job.unique} "${key}" is waiting or running`)
        },
      )
      return { sequence: stored.sequence, duplicate: stored.duplicate }
    },
  }
}
