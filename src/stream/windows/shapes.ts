// How time is cut into windows.
import { Temporal } from 'temporal-polyfill'
import { failure } from '../../bus/internal.ts'
import { type Duration, durationMs } from '../../contract/internal.ts'

/** Windows whose bounds time alone decides: every key has the same ones. */
export interface AlignedShape {
  readonly kind: 'aligned'
  readonly description: string
  /** Whether a time belongs to several windows. */
  readonly overlapping: boolean
  /** Start of the latest window that holds a time, unix ms. */
  startOf(timeMs: number): number
  /** Start of the window before one; for overlapping windows. */
  before(startMs: number): number
  endOf(startMs: number): number
}

/** Windows that a key's own events make: they last until there was none for `gapMs`. */
export interface SessionShape {
  readonly kind: 'session'
  readonly description: string
  readonly gapMs: number
}

/** A window that ends at each event. */
export interface SlidingShape {
  readonly kind: 'sliding'
  readonly description: string
  readonly sizeMs: number
}

/** A window is over after so many events of a key; time plays no part. */
export interface CountShape {
  readonly kind: 'counted'
  readonly description: string
  readonly events: number
}

export type WindowShape = AlignedShape | SessionShape | SlidingShape | CountShape

/** Windows side by side, each `size` long, aligned to 1970-01-01T00:00Z. @throws MyelinError INVALID_OPTION */
export function tumbling(size: Duration): AlignedShape {
  const sizeMs = spanOf(size, 'tumbling')
  return {
    kind: 'aligned',
    description: `tumbling(${sizeMs})`,
    overlapping: false,
    startOf: (timeMs) => Math.floor(timeMs / sizeMs) * sizeMs,
    before: (startMs) => startMs - sizeMs,
    endOf: (startMs) => startMs + sizeMs,
  }
}

/**
 * Windows of one length that begin every so often, so that an event is in several.
 * @example hopping('1h', { every: '10m' })    // an event is in six of them
 * @throws MyelinError INVALID_OPTION
 */
export function hopping(size: Duration, options: { every: Duration }): AlignedShape {
  const sizeMs = spanOf(size, 'hopping')
  const everyMs = spanOf(options.every, 'hopping: every')
  if (everyMs > sizeMs) {
    throw failure(
      'INVALID_OPTION',
      `hopping: windows of ${sizeMs} ms every ${everyMs} ms leave out events between them`,
    )
  }
  if (sizeMs / everyMs > maxOverlap) {
    throw failure(
      'INVALID_OPTION',
      `hopping: windows of ${sizeMs} ms every ${everyMs} ms would put each event into more than ${maxOverlap} of them`,
    )
  }
  return {
    kind: 'aligned',
    description: `hopping(${sizeMs}, ${everyMs})`,
    overlapping: true,
    startOf: (timeMs) => Math.floor(timeMs / everyMs) * everyMs,
    before: (startMs) => startMs - everyMs,
    endOf: (startMs) => startMs + sizeMs,
  }
}

const maxOverlap = 10_000

type CalendarUnit = 'day' | 'week' | 'month' | 'year'

/**
 * Days, weeks (from Monday), months or years as people of a time zone have them: a day is 23 or 25 hours long when the
 * clocks change. Where clocks went back over midnight, the day that had begun goes on.
 * @example calendar('day', { timeZone: 'America/New_York' })
 * @throws MyelinError INVALID_OPTION for a time zone that does not exist
 */
export function calendar(unit: CalendarUnit, options: { timeZone: string }): AlignedShape {
  const { timeZone } = options
  const zoned = (timeMs: number) => Temporal.Instant.fromEpochMilliseconds(timeMs).toZonedDateTimeISO(timeZone)
  try {
    zoned(0)
  } catch (cause) {
    throw failure('INVALID_OPTION', `calendar: "${timeZone}" is not a time zone; for example Europe/Berlin`, { cause })
  }
  const first = (timeMs: number) => {
    const at = zoned(timeMs)
    if (unit === 'day') return at.startOfDay()
    if (unit === 'week') return at.subtract({ days: at.dayOfWeek - 1 }).startOfDay()
    return at.with(unit === 'month' ? { day: 1 } : { month: 1, day: 1 }).startOfDay()
  }
  // asking the calendar takes microseconds, and events of one window come together
  let lastStart = Number.NaN
  let lastEnd = Number.NaN
  const endOf = (startMs: number) => {
    if (startMs === lastStart) return lastEnd
    return zoned(startMs)
      .add({ [`${unit}s`]: 1 })
      .startOfDay().epochMilliseconds
  }
  const startOf = (timeMs: number) => {
    if (timeMs >= lastStart && timeMs < lastEnd) return lastStart
    let startMs = first(timeMs).epochMilliseconds
    let endMs = endOf(startMs)
    // clocks that go back over midnight bring back the evening of a day that is over
    for (; timeMs >= endMs; endMs = endOf(startMs)) startMs = endMs
    lastStart = startMs
    lastEnd = endMs
    return startMs
  }
  return {
    kind: 'aligned',
    description: `calendar(${unit}, ${timeZone})`,
    overlapping: false,
    startOf,
    before: (startMs) => startOf(startMs - 1),
    endOf,
  }
}

/**
 * For each key, events that follow each other within `gap`, or just `gap` apart, make one window, from the first of them
 * to `gap` after the last. Its aggregates must be able to merge: an event between two sessions makes them one.
 * @throws MyelinError INVALID_OPTION
 */
export function session(gap: Duration): SessionShape {
  const gapMs = spanOf(gap, 'session')
  return { kind: 'session', description: `session(${gapMs})`, gapMs }
}

/**
 * For each event a window of the `size` up to and with it; an event just `size` before is not in it. In SQL, whose ranges
 * hold both ends: `RANGE BETWEEN size - 1 ms PRECEDING AND CURRENT ROW`.
 * Keeps the events of one window and aggregates them anew for each, so it is for windows of hundreds of events.
 * @throws MyelinError INVALID_OPTION
 */
export function sliding(size: Duration): SlidingShape {
  const sizeMs = spanOf(size, 'sliding')
  return { kind: 'sliding', description: `sliding(${sizeMs})`, sizeMs }
}

/** A window per key that is over after `events` events, whenever they happened. @throws MyelinError INVALID_OPTION */
export function counted(events: number): CountShape {
  if (!Number.isInteger(events) || events < 1) {
    throw failure('INVALID_OPTION', `counted: expected a whole number of events from 1 on, got ${events}`)
  }
  return { kind: 'counted', description: `counted(${events})`, events }
}

function spanOf(size: Duration, what: string): number {
  const ms = durationMs(size, what)
  if (!Number.isInteger(ms) || ms < 1) {
    throw failure('INVALID_OPTION', `${what}: a window is a whole number of ms long, at least 1, got ${ms}`)
  }
  return ms
}
