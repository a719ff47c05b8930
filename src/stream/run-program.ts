// A processor's program over plain arrays: no server, no clocks but the events' own, so that the same events give the same
// rows every time. What a processor does between its input and its outputs, and nothing around it.
import { failure, MyelinError, messageOf, readHeaders } from '../bus/internal.ts'
import type { Unit } from '../unit/internal.ts'
import { jsonBytes } from './json.ts'
import { type Plan, type Sink, withKey } from './program/index.ts'
import { type Fed, runDataflow } from './run-dataflow.ts'
import type { Incoming, Source } from './sources.ts'

interface Program {
  readonly name: string
  readonly plan: Plan
  readonly sinks: readonly Sink[]
  readonly sources: readonly Source<unknown>[]
  /** Of several sources. */
  readonly names: readonly string[] | undefined
}

const programs = new WeakMap<object, Program>()

/** @internal */
export function keepProgram(unit: Pick<Unit, 'name'>, program: Program): void {
  programs.set(unit, program)
}

/** Something outside that a program wants done: a job, an event, a row for a bucket. */
export interface ProgramEffect {
  /** As the effect calls itself: `job rebooking.rebook`, `event flights.delayed`, `bucket GATES`. */
  readonly to: string
  readonly value: unknown
}

/** What came of a program. */
export interface ProgramResult {
  /** Rows of the view in `to`, in their order, as they would lie in it. */
  readonly rows: readonly Record<string, unknown>[]
  /** Rows of each view by its name. */
  readonly views: Readonly<Record<string, readonly Record<string, unknown>[]>>
  readonly effects: readonly ProgramEffect[]
  /** What would have gone to the error output, in its order. */
  readonly errors: readonly MyelinError[]
  /** Events that came after their window had closed for good. */
  readonly late: number
}

export interface RunProgramOptions {
  /** The input sinks after the last event, which closes all windows. Default true. */
  readonly end?: boolean
  /**
   * When the server stored an event, unix ms: what `time('stored')`, `idle` and `maxAhead` go by. Default: one ms after
   * another, in the year 2100, so that no event is ahead of its time.
   */
  readonly storedMs?: (value: unknown, number: number) => number
  /** For sources that ask a service about each value (`enrich`): what would have come of a value. */
  readonly enriched?: (value: unknown) => unknown
}

const year2100 = Date.UTC(2100, 0, 1)

/**
 * Runs a processor's program on plain arrays, without a server: events in, rows, effects and errors out. Deterministic.
 *
 * `input`: the events of its source, or of several sources by name. They are checked by the source's schema, as they would
 * be. Of several sources tables come first (`{ key, value }`, without a value for one that is gone), then one event of each
 * in turn; for another order, give a list of `{ name: event }`.
 *
 * A processor of several partitions is run as if it had one: that its keys are those of its input is not checked.
 *
 * @throws MyelinError INVALID_OPTION: not made by `processor(…)`, or no such source
 *
 * @example
 * const { rows, errors } = runProgram(delays, [
 *   { origin: 'ATL', date: '2001-01-01T00:10:00Z', delay: 20 },
 *   { origin: 'ATL', date: '2001-01-01T00:50:00Z', delay: 40 },
 * ])
 * assert.deepEqual(rows, [{ origin: 'ATL', start: '2001-01-01T00:00:00Z', flights: 2, mean: 30 }])
 */
export function runProgram(
  processor: Pick<Unit, 'kind' | 'name'>,
  input: readonly unknown[] | Readonly<Record<string, readonly unknown[]>>,
  options: RunProgramOptions = {},
): ProgramResult {
  const program = programs.get(processor)
  if (!program) {
    throw failure(
      'INVALID_OPTION',
      `runProgram needs what processor(…) gave back; a declared processor (myelin:processor) is tested in a running world`,
    )
  }
  const { plan, sources, sinks } = program
  const events = inOrder(program, input).map(({ source, value }, number): Fed => {
    const storedMs = options.storedMs?.(value, number) ?? year2100 + number
    return { source, storedMs, read: () => decoded(sources[source]!, value, storedMs, options) }
  })
  const over = options.end !== false ? sources.map(({ kind }, source) => ({ source, kind, end: true })) : []
  const ran = runDataflow(sinks, [...events, ...over.filter(({ kind }) => kind === 'events')])
  const errors = ran.rejected.map(asError)
  const views = plan.views.map((view) => ({ view, rows: [] as Record<string, unknown>[] }))
  for (const { output, key, value } of ran.rows) {
    const { view, rows } = views[output]!
    try {
      const data = jsonBytes(`row "${key}" of view ${view.name}`, withKey(view.key, key, value))
      rows.push(JSON.parse(data.toString()))
    } catch (error) {
      errors.push(asError(error))
    }
  }
  return {
    rows: views[0]?.rows ?? [],
    views: Object.fromEntries(views.map(({ view, rows }) => [view.name, rows])),
    effects: ran.effects.map(({ effect, value }) => ({ to: plan.effects[effect]!.name, value })),
    errors,
    late: ran.late,
  }
}

interface Entry {
  readonly source: number
  readonly value: unknown
}

/** What is fed, in its order. @throws MyelinError INVALID_OPTION */
function inOrder(
  { name, names, sources }: Program,
  input: readonly unknown[] | Readonly<Record<string, readonly unknown[]>>,
): Entry[] {
  const indexOf = (source: string) => {
    const index = names === undefined ? 0 : names.indexOf(source)
    if (index >= 0) return index
    throw failure('INVALID_OPTION', `processor '${name}' has no source '${source}'; it has ${names?.join(', ')}`)
  }
  if (Array.isArray(input)) {
    if (names === undefined) return input.map((value) => ({ source: 0, value }))
    return input.flatMap((one) =>
      Object.entries(one as object).map(([key, value]) => ({ source: indexOf(key), value })),
    )
  }
  const lists = Object.entries(input).map(([key, values]) => ({ source: indexOf(key), values: values as unknown[] }))
  if (names === undefined && lists.length > 1) {
    throw failure('INVALID_OPTION', `processor '${name}' has one source: its events are one list`)
  }
  const isTable = ({ source }: { source: number }) => sources[source]!.kind === 'table'
  const first = lists.filter(isTable).flatMap(({ source, values }) => values.map((value) => ({ source, value })))
  const others = lists.filter((list) => !isTable(list))
  const rounds = Math.max(0, ...others.map(({ values }) => values.length))
  for (let round = 0; round < rounds; round++) {
    for (const { source, values } of others) if (round < values.length) first.push({ source, value: values[round] })
  }
  return first
}

function decoded(source: Source<unknown>, value: unknown, storedMs: number, { enriched }: RunProgramOptions): unknown {
  if (source.kind === 'table') {
    const { key, value: held } = value as { key: string; value?: unknown }
    if (held === undefined) return { key, value: undefined, timeMs: storedMs }
    return source.decode(incoming(key, held, storedMs), () => key)
  }
  const payload = source.decode(incoming('', value, storedMs), () => '')
  if (!source.enrichment) return payload
  if (enriched) return enriched(payload)
  throw failure('INVALID_OPTION', 'this source asks somebody about each value: say what comes of it with `enriched`')
}

/** As it lies in a stream. */
const incoming = (subject: string, value: unknown, timestampMs: number): Incoming => ({
  subject,
  data: jsonBytes('an event', value),
  headers: readHeaders({} as Parameters<typeof readHeaders>[0]),
  timestampMs,
})

const asError = (error: unknown): MyelinError =>
  error instanceof MyelinError ? error : failure('INTERNAL', messageOf(error), { cause: error })
