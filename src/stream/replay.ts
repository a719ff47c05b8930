// Time travel: a processor once more, under another name, over what its input still holds. What it writes is its own and
// can be removed again; what the program does outside is left out unless it is wanted.
import { type Bus, ErrorOutput, failure, lastMessage, now, removeStream, streamInfo } from '../bus/internal.ts'
import { subjectToken } from '../contract/internal.ts'
import { type Logger, serve, type Unit } from '../unit/internal.ts'
import { forgetAssignment } from './assignment.ts'
import { checkpointStream } from './checkpoint.ts'
import { declaredProcessor } from './declared/index.ts'
import { inputStream } from './input.ts'
import { type Inspection, inspectProcessor } from './inspect.ts'
import { errorStream } from './rejected.ts'
import { viewStream } from './view.ts'

export interface ReplayOptions {
  /** The name of the replay: of its checkpoints, its error output and its view. */
  readonly as: string
  /** Count only what happened from this time on, by event time; RFC 3339 with a zone, or a date. */
  readonly from?: string
  /** And only until this time. */
  readonly until?: string
  /** Also do outside what the program does there: put in jobs, publish events. Default: not. */
  readonly effects?: boolean
  /** The unit's name and configuration in its composition. */
  readonly name?: string
  readonly config?: Readonly<Record<string, unknown>>
  /** Go on with what comes after the end that the input had at the beginning. */
  readonly follow?: boolean
  /** Stop early, with its place written down: the next replay of that name goes on there. */
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: ReplayProgress) => void
  /** Time between two looks at it. Default 500 ms. */
  readonly everyMs?: number
  readonly log?: Logger
}

/** How far a replay is. */
export interface ReplayProgress {
  /** Input messages processed by this run. */
  readonly in: number
  /** Rows of the view so far, of earlier runs as well. */
  readonly out: number
  readonly rejected: number
  /** Input stored and not yet processed. */
  readonly lag: number
  /** Events in windows that are not closed. */
  readonly open: number
  /** Unix ms of event time. */
  readonly watermarkMs: number | 'end' | null
  readonly perSecond: number
  /** Time until the lag is worked off at the present rate; absent while there is none. */
  readonly etaMs?: number
  readonly caughtUp: boolean
}

export interface ReplayOutcome extends ReplayProgress {
  readonly views: readonly string[]
}

/** A stream that a replay left. */
export interface ReplayedStream {
  readonly stream: string
  readonly messages: number
  readonly bytes: number
}

// the error output is the one stream that every replay has and whose name says all: it tells what else there is
const markOf = 'myelin-replay-of'
const markSpan = 'myelin-replay-span'
const markStreams = 'myelin-replay-streams'

/**
 * Runs a processor under another name, in this process, until it has caught up with the end that its input has now.
 *
 * @example
 * const { views } = await replay(bus, delays, { as: 'delays-july', from: '2001-07-01', until: '2001-08-01' })
 *
 * @throws MyelinError INVALID_OPTION: not a processor, or a name that something else has; and what the processor fails with
 */
export async function replay(bus: Bus, unit: Unit<never>, options: ReplayOptions): Promise<ReplayOutcome> {
  const { as, from, until, effects = false, signal, everyMs = 500, log } = options
  const name = options.name ?? unit.name
  subjectToken(as, 'as')
  if (unit.kind !== 'processor') {
    throw failure('INVALID_OPTION', `${name} is a ${unit.kind}; only a processor can be replayed`)
  }
  const mark = { [markOf]: name, [markSpan]: `${from ?? 'the start'} to ${until ?? 'the end'}` }
  await refuseTaken(bus, as, mark)
  await new ErrorOutput('processor', as).ensure(bus, mark)
  let before = { at: performance.now(), in: 0 }
  const span = { as, effects, ...(from === undefined ? {} : { from }), ...(until === undefined ? {} : { until }) }
  await using running = await serve(bus, unit as Unit<unknown>, {
    config: configOf(unit, options.config ?? {}, span),
    unit: name,
    ...(log ? { log } : {}),
  })
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => undefined)
  running.done?.catch(failed.reject)
  const look = () => Promise.race([inspect(bus, as), failed.promise])
  const stopped = new Promise<'stopped'>((resolve) => {
    if (signal?.aborted) resolve('stopped')
    signal?.addEventListener('abort', () => resolve('stopped'), { once: true })
  })
  const first = await whole(look, signal)
  await new ErrorOutput('processor', as).ensure(bus, { ...mark, [markStreams]: streamsOf(as, first[0]!).join(' ') })
  const end = await Promise.race([inputEnd(bus, first), stopped, failed.promise])
  for (;;) {
    const inspections = await look()
    const caughtUp = end !== 'stopped' && reached(inspections, end)
    const progress = progressOf(inspections, before, caughtUp)
    before = { at: performance.now(), in: progress.in }
    options.onProgress?.(progress)
    const { views } = inspections[0]!
    if ((caughtUp && !options.follow) || signal?.aborted) return { ...progress, views }
    const waited = new Promise((resolve) => setTimeout(resolve, caughtUp ? everyMs : Math.min(everyMs, 500)))
    await Promise.race([waited, stopped, failed.promise])
  }
}

/** A declared processor has words of its own for what a replay is given. */
const configOf = (unit: object, config: Readonly<Record<string, unknown>>, span: object) =>
  unit === declaredProcessor ? { ...config, replay: span } : { ...config, ...span }

/** A name that something else has is refused: its view would be written by two programs. */
async function refuseTaken(bus: Bus, as: string, mark: Readonly<Record<string, string>>): Promise<void> {
  const before = await markedBy(bus, as)
  if (before) {
    if (before[markOf] === mark[markOf] && before[markSpan] === mark[markSpan]) return // it goes on
    throw failure(
      'INVALID_OPTION',
      `"${as}" is a replay of ${before[markOf]}, ${before[markSpan]}; remove it first, or choose another name`,
    )
  }
  for (const stream of [checkpointStream(as), checkpointStream(as, 0), viewStream(as), errorStream(as)]) {
    if (await streamInfo(bus, stream)) {
      throw failure('INVALID_OPTION', `"${as}" is taken: ${stream} exists and is not a replay's; choose another name`)
    }
  }
}

async function inspect(bus: Bus, as: string): Promise<readonly Inspection[]> {
  const found = await inspectProcessor(bus, as)
  if (found.length > 0) return found
  throw failure('NO_RESPONDERS', `replay '${as}' runs here and does not answer within a second`)
}

/** Every partition of the replay; those of an instance that died are taken over after a while. */
async function whole(look: () => Promise<readonly Inspection[]>, signal?: AbortSignal): Promise<readonly Inspection[]> {
  for (;;) {
    const inspections = await look()
    const running = inspections.reduce((sum, { partitions }) => sum + partitions.length, 0)
    if (running >= inspections[0]!.partitionCount || signal?.aborted) return inspections
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

function streamsOf(as: string, { input, views, partitionCount }: Inspection): string[] {
  const parts = partitionCount === 1 ? [] : Array.from({ length: partitionCount }, (_, partition) => partition)
  return [
    ...views.flatMap((view) => [viewStream(view), ...parts.map((part) => viewStream(view, part))]),
    ...(parts.length === 0 ? [checkpointStream(as)] : parts.map((part) => checkpointStream(as, part))),
    ...(input === inputStream(as) ? [input] : []),
  ]
}

/** By partition, the sequence of the last message that the input has for it now. */
type Ends = ReadonlyMap<number, number>

async function inputEnd(bus: Bus, inspections: readonly Inspection[]): Promise<Ends> {
  const { input, reads } = inspections[0]!
  const partitions = inspections.flatMap(({ partitions }) => partitions)
  if (reads.some(({ stream }) => stream !== input)) await copied(bus, inspections[0]!)
  const ends = new Map<number, number>()
  for (const { partition, subjects } of partitions) {
    const last = await Promise.all(subjects.map((subject) => lastMessage(bus, input, subject)))
    ends.set(partition, Math.max(0, ...last.map((message) => message?.sequence ?? 0)))
  }
  return ends
}

const quietMs = 5_000

/** Resolves when the server has copied into the input what its sources hold now. */
async function copied(bus: Bus, { input, reads }: Inspection): Promise<void> {
  let wanted = 0
  for (const { stream, subject } of reads) {
    const info = await streamInfo(bus, stream, { subjects: subject })
    wanted += Object.values(info?.state.subjects ?? {}).reduce((sum, count) => sum + count, 0)
  }
  let have = -1
  for (let since = now(); ; await new Promise((resolve) => setTimeout(resolve, 50))) {
    const info = await streamInfo(bus, input)
    const last = info?.state.last_seq ?? 0
    const copying = info?.sources?.some(({ lag }) => lag > 0) ?? false
    // marks of partitions are in it as well: that there are enough messages is not all
    if (last >= wanted && !copying) return
    // what a source has forgotten meanwhile does not come any more
    if (last !== have || copying) since = now()
    have = last
    if (now() - since > quietMs) return
  }
}

function reached(inspections: readonly Inspection[], ends: Ends): boolean {
  const partitions = inspections.flatMap(({ partitions }) => partitions)
  return [...ends].every(([number, end]) => {
    const partition = partitions.find(({ partition }) => partition === number)
    return partition !== undefined && (partition.position >= end || partition.ended)
  })
}

function progressOf(
  inspections: readonly Inspection[],
  before: { readonly at: number; readonly in: number },
  caughtUp: boolean,
): ReplayProgress {
  const partitions = inspections.flatMap(({ partitions }) => partitions)
  const total = (key: 'in' | 'out' | 'rejected' | 'lag' | 'open') =>
    partitions.reduce((sum, status) => sum + status[key], 0)
  const seconds = (performance.now() - before.at) / 1_000
  const perSecond = Math.max(0, Math.round((total('in') - before.in) / Math.max(seconds, 0.001)))
  const watermarks = partitions.map(({ watermarkMs }) => watermarkMs)
  const known = watermarks.filter((at) => typeof at === 'number')
  const ended = watermarks.length > 0 && watermarks.every((at) => at === 'end')
  return {
    in: total('in'),
    out: total('out'),
    rejected: total('rejected'),
    lag: total('lag'),
    open: total('open'),
    watermarkMs: ended ? 'end' : known.length > 0 ? Math.min(...known) : null,
    perSecond,
    ...(perSecond > 0 ? { etaMs: Math.round((total('lag') / perSecond) * 1_000) } : {}),
    caughtUp,
  }
}

/** What a replay's own mark says, if there is one. */
async function markedBy(bus: Bus, as: string): Promise<Readonly<Record<string, string>> | undefined> {
  const metadata = (await streamInfo(bus, errorStream(as)))?.config.metadata
  return metadata?.[markOf] === undefined ? undefined : metadata
}

/** What a replay left. @throws MyelinError STREAM_NOT_FOUND when there is no replay of that name */
export async function replayedStreams(bus: Bus, as: string): Promise<readonly ReplayedStream[]> {
  const mark = await markedBy(bus, as)
  if (!mark) {
    const taken = await streamInfo(bus, checkpointStream(as))
    throw failure(
      'STREAM_NOT_FOUND',
      taken ? `"${as}" is a processor of its own and no replay` : `there is no replay "${as}"`,
    )
  }
  const names = mark[markStreams]?.split(' ') ?? [viewStream(as), checkpointStream(as), inputStream(as)]
  const found: ReplayedStream[] = []
  for (const stream of [...names, errorStream(as)]) {
    const info = await streamInfo(bus, stream)
    if (info) found.push({ stream, messages: info.state.messages, bytes: info.state.bytes })
  }
  return found
}

/**
 * Removes what a replay left; resolves with what that was.
 * @throws MyelinError STREAM_NOT_FOUND; ILLEGAL_TRANSITION while it runs
 */
export async function removeReplay(bus: Bus, as: string): Promise<readonly ReplayedStream[]> {
  const streams = await replayedStreams(bus, as)
  const running = await inspectProcessor(bus, as)
  if (running.length > 0) {
    const who = running.map(({ instance }) => instance).join(', ')
    throw failure('ILLEGAL_TRANSITION', `replay "${as}" is running (instance ${who}); stop it first`)
  }
  // its mark goes last: a removal that was interrupted can be repeated
  for (const { stream } of streams) await removeStream(bus, stream)
  await forgetAssignment(bus, as)
  return streams
}
