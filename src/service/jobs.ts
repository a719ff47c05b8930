// Queueing: putting a job into its work queue.
import { nuid } from '@nats-io/nats-core'
import {
  type Bus,
  checkedId,
  failure,
  header,
  headerLine,
  MyelinError,
  now,
  type Stored,
  store,
  traceLines,
} from '../bus/index.ts'
import { type Contract, type InputOf, type JobDefinition, jobSubject, parse, subjectToken } from '../contract/index.ts'
import type { Within } from './call.ts'
import { deadLetterSpec, ensureOnce, jobStreamSpec } from './streams.ts'

export interface EnqueueOptions {
  /** Deduplication id: the same id within two minutes is stored once. Default: a new one. */
  id?: string
  /** Not before this many milliseconds from now. */
  delayMs?: number
  /** How long storing may take, waits for a full stream included. Default 30 s. */
  timeoutMs?: number
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

export function jobClient(
  bus: Bus,
  contract: Contract,
  name: string,
  job: JobDefinition,
  lines: string,
  within: Within | undefined,
): JobClient<JobDefinition> {
  const where = `${contract.name}.${name}`
  return {
    async enqueue(payload, options = {}) {
      await parse(job.payload, payload, 'INVALID_INPUT', `job ${where}`)
      const base = jobSubject(contract.name, name)
      const key =
        job.unique === undefined
          ? undefined
          : subjectToken((payload as Record<string, unknown>)[job.unique], `job ${where}: unique key "${job.unique}"`)
      const target = key === undefined ? base : `${base}.${key}`
      const id = options.id === undefined ? nuid.next() : checkedId(options.id, `job ${where}`)
      let headerLines = lines + headerLine(header.messageId, id) + traceLines(within?.trace)
      let subject = target
      const { delayMs = 0 } = options
      if (!(delayMs >= 0)) throw failure('INVALID_OPTION', `job ${where}: delayMs must be 0 or more, got ${delayMs}`)
      if (delayMs > 0) {
        // the server itself publishes it at its time (ADR-51): no process has to stay up for it
        subject = `${base}._at.${nuid.next()}`
        const at = new Date(Math.ceil((Date.now() + delayMs) / 1_000) * 1_000).toISOString().replace(/\.\d+Z$/, 'Z')
        headerLines += headerLine('Nats-Schedule', `@at ${at}`) + headerLine('Nats-Schedule-Target', target)
      }
      await ensureOnce(bus, jobStreamSpec(contract, name))
      await ensureOnce(bus, deadLetterSpec(contract.name))
      const deadline = Math.min(now() + (options.timeoutMs ?? 30_000), within?.deadline ?? Number.POSITIVE_INFINITY)
      const stored: Stored = await store(bus, subject, bus.codec.encode(payload), {
        deadline,
        headerLines,
        deduplicated: true,
      }).catch((error) => {
        if (error instanceof MyelinError && error.code === 'ALREADY_QUEUED') {
          throw failure('ALREADY_QUEUED', `job ${where}: one with ${job.unique} "${key}" is waiting or running`)
        }
        throw error
      })
      return { sequence: stored.sequence, duplicate: stored.duplicate }
    },
  }
}
