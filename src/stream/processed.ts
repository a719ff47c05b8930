// Read your writes: waiting until what was stored in a stream has gone through a processor and its rows are in the views.
// Nothing is announced for it: who waits asks the processor's instances and streams, so that it costs nothing while nobody does.
import {
  type Bus,
  failure,
  lastMessage,
  MyelinError,
  nextMessage,
  now,
  type Persisted,
  streamInfo,
} from '../bus/internal.ts'
import { copiedFrom } from './copies.ts'
import { type Inspection, inspectProcessor, type PartitionStatus } from './inspect.ts'
import { viewStream, viewSubject } from './view.ts'

/** A message's place in a stream, as `publish` of a durable event gives it back. */
export type StreamPosition = Pick<Persisted, 'stream' | 'sequence'>

export interface ProcessedOptions {
  /** Until when, in ms of `now()` (`myelin/bus`). Default: ten seconds from now. */
  readonly deadline?: number
  /** Ends the wait. */
  readonly signal?: AbortSignal
}

const defaultMs = 10_000
const firstWaitMs = 5
const longestWaitMs = 100
const askMs = 1_000
/** A row that the view does not have was copied and removed, or is not copied yet: the latter takes less than this. */
const expiredMs = 5_000

/**
 * Resolves when a processor, all of its partitions, has processed its input up to a position, and the rows that came of it
 * are in its views: `readView(…).get(…)` then gives them. It rides over restarts of the processor. Whether there is a row is
 * the program's affair: a window still waits for its end, and what was refused is in the error output. Effects outside
 * (`to(job(…))`) may still be under way.
 *
 * `processor`: what `processor(…)` gave, or the name it runs under. `position`: what `publish` of a durable event resolved
 * with; or any place in a stream that the processor reads.
 *
 * @throws MyelinError DEADLINE_EXCEEDED (says which partition stands where, or that nobody runs it), INVALID_OPTION (the
 *   processor does not read that stream), STREAM_NOT_FOUND, STREAM_MISMATCH (the stream ends before the position), CANCELLED
 *
 * @example
 * const stored = await client(bus, flights).departed.publish(flight)
 * await processed(bus, 'delays', stored, { deadline: now() + 2_000 })
 * const row = await delays.get(flight.origin)
 */
export async function processed(
  bus: Bus,
  processor: string | { readonly name: string },
  position: StreamPosition,
  options: ProcessedOptions = {},
): Promise<void> {
  const name = typeof processor === 'string' ? processor : processor.name
  const wait = new Wait(`processor '${name}'`, position, options)
  const done = new Set<number>()
  let target: number | undefined
  let found: Inspection | undefined
  for (;;) {
    const answers = await inspectProcessor(bus, name, wait.bounded(askMs))
    found = answers[0]
    if (found) {
      checkReads(name, found, position)
      target ??= await inputPosition(bus, name, found, position, wait)
      const open = await unfinished(bus, found, answers, target, done, wait)
      if (open === undefined) break
      wait.reason = open
    } else wait.reason = 'no instance of it answers: is it running?'
    await wait.pause()
  }
  for (const view of found.views) await inView(bus, view, wait)
}

/** Asking again and again until a deadline, with what stands in the way. */
class Wait {
  readonly #what: string
  readonly #deadline: number
  readonly #signal: AbortSignal | undefined
  #waitMs = firstWaitMs
  reason = ''

  constructor(processor: string, position: StreamPosition | undefined, options: ProcessedOptions) {
    const { stream, sequence = 0 } = position ?? {}
    if (typeof stream !== 'string' || !Number.isSafeInteger(sequence) || sequence < 1) {
      throw failure(
        'INVALID_OPTION',
        `${processor}: position: expected what publish of a durable event resolves with, { stream, sequence }; events that are not durable have none`,
      )
    }
    const { deadline = now() + defaultMs, signal } = options
    if (!Number.isFinite(deadline)) {
      throw failure('INVALID_OPTION', `${processor}: deadline: expected ms of now(), got ${deadline}`)
    }
    this.#what = `${processor} has not processed ${stream} up to ${sequence} by the deadline`
    this.#deadline = deadline
    this.#signal = signal
  }

  bounded(ms: number): number {
    return Math.max(1, Math.min(ms, this.#deadline - now()))
  }

  /** Asks a stream, again while it elects a leader or the connection is lost. */
  async asked<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    for (;;) {
      try {
        return await ask()
      } catch (error) {
        if (!(error instanceof MyelinError && error.retriable)) throw error
        this.reason = error.message
      }
      await this.pause()
    }
  }

  /** @throws MyelinError DEADLINE_EXCEEDED, CANCELLED */
  async pause(): Promise<void> {
    if (this.#signal?.aborted) throw failure('CANCELLED', `waiting was cancelled; ${this.reason}`)
    if (now() >= this.#deadline) throw failure('DEADLINE_EXCEEDED', `${this.#what}: ${this.reason}`)
    const ms = this.bounded(this.#waitMs)
    this.#waitMs = Math.min(this.#waitMs * 1.5, longestWaitMs)
    await new Promise((resolve) => setTimeout(resolve, ms))
  }
}

function checkReads(name: string, { reads }: Inspection, { stream }: StreamPosition): void {
  if (reads.some((read) => read.stream === stream)) return
  const those = reads.map((read) => read.stream).join(', ')
  throw failure('INVALID_OPTION', `processor '${name}' does not read ${stream}; it reads ${those}`)
}

/**
 * What a position in a source's stream is in the stream that the partitions read. Where the server copies the one into the
 * other, that is the place of the last message that it copied, as soon as it is the wanted one or a later one.
 */
async function inputPosition(
  bus: Bus,
  name: string,
  { input, reads, partitionCount }: Inspection,
  { stream, sequence }: StreamPosition,
  wait: Wait,
): Promise<number> {
  const info = await wait.asked(() => streamInfo(bus, stream))
  if (!info) throw failure('STREAM_NOT_FOUND', `stream ${stream} does not exist`)
  if (info.state.last_seq < sequence) {
    throw failure(
      'STREAM_MISMATCH',
      `stream ${stream} ends at ${info.state.last_seq}, before ${sequence}: it is not the stream any more in which that was stored`,
    )
  }
  let target = 0
  for (const [number, read] of reads.entries()) {
    if (read.stream !== stream) continue
    // what the processor does not read of the stream, it cannot process
    const last = (await wait.asked(() => lastMessage(bus, stream, read.subject)))?.sequence ?? 0
    const wanted = Math.min(sequence, last)
    if (input === stream) {
      target = wanted
      continue
    }
    const partitions = read.everywhere ? Array.from({ length: partitionCount }, (_, i) => i) : ['*']
    for (const partition of wanted === 0 ? [] : partitions) {
      for (;;) {
        const copy = await wait.asked(() => lastMessage(bus, input, `in.${name}.${partition}.${number}.>`))
        const copied = copiedFrom(copy, stream)
        if (copy && copied >= wanted) {
          target = Math.max(target, copy.sequence)
          break
        }
        wait.reason = `the server has copied it into ${input} up to ${copied}`
        await wait.pause()
      }
    }
  }
  return target
}

/** Why it is not done; what a partition has finished stays so, whoever runs it next. */
async function unfinished(
  bus: Bus,
  { input, partitionCount }: Inspection,
  answers: readonly Inspection[],
  target: number,
  done: Set<number>,
  wait: Wait,
): Promise<string | undefined> {
  const running = answers.flatMap(({ partitions }) => partitions)
  let reason: string | undefined
  for (let partition = 0; partition < partitionCount; partition++) {
    if (done.has(partition)) continue
    const own = running.filter((status) => status.partition === partition)
    const [best] = own.sort((a, b) => b.written - a.written)
    if (best && (best.written >= target || (await wait.asked(() => nothingLeft(bus, input, best, target)))))
      done.add(partition)
    else if (best) reason ??= `partition ${partition} has come to ${best.written} of ${target} in ${input}`
    else reason ??= `nobody runs partition ${partition}`
  }
  return reason
}

/** A partition that has no messages of its own up to there, and no clocks that others move, has nothing to do. */
async function nothingLeft(bus: Bus, stream: string, status: PartitionStatus, target: number): Promise<boolean> {
  if (status.sharedClocks || status.written < status.position) return false
  const [subject] = status.subjects
  const next = await nextMessage(bus, stream, status.written + 1, { subject, direct: false })
  return next === undefined || next.sequence > target
}

/** Waits until the server has copied the partitions' rows of now into the view that they share. */
async function inView(bus: Bus, view: string, wait: Wait): Promise<void> {
  const stream = viewStream(view)
  const sources = (await wait.asked(() => streamInfo(bus, stream)))?.config.sources ?? []
  for (const { name: part, subject_transforms: transforms = [] } of sources) {
    const subject = transforms[0]?.src ?? '>'
    const last = await wait.asked(() => lastMessage(bus, part, subject))
    if (!last) continue
    const key = last.subject.slice(last.subject.lastIndexOf('.') + 1)
    for (;;) {
      const copied = copiedFrom(await wait.asked(() => lastMessage(bus, stream, viewSubject(view, key))), part)
      if (copied >= last.sequence) break
      if (copied === 0 && Date.now() - last.timestampMs > expiredMs && (await isGone(bus, stream, part, wait))) break
      wait.reason = `the server has not yet copied its rows into view ${view} (${part} ${last.sequence})`
      await wait.pause()
    }
  }
}

/** Whether a row may have expired, or been removed, in the view. What the server says of copies alone is also true before them. */
async function isGone(bus: Bus, stream: string, part: string, wait: Wait): Promise<boolean> {
  const info = await wait.asked(() => streamInfo(bus, stream))
  const { first_seq: first, num_deleted: deleted = 0 } = info?.state ?? { first_seq: 0 }
  return (first > 1 || deleted > 0) && info?.sources?.find(({ name }) => name === part)?.lag === 0
}
