// Windows of the calendar against an oracle that knows only what a clock on the wall shows: Intl's dates, minute by minute.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { calendar } from './index.ts'

type Unit = 'day' | 'week' | 'month' | 'year'
const minuteMs = 60_000
const dayMs = 86_400_000

const zones = [
  'UTC',
  'America/New_York',
  'America/Sao_Paulo', // clocks went forward at midnight: days without a first hour
  'America/Havana', // and back to midnight
  'America/St_Johns', // and back over midnight, at 00:01
  'America/Asuncion',
  'Africa/Cairo',
  'Asia/Beirut',
  'Asia/Gaza',
  'Asia/Kathmandu',
  'Asia/Pyongyang',
  'Australia/Lord_Howe', // by half an hour
  'Antarctica/Troll', // by two
  'Europe/Dublin',
  'Europe/Moscow',
  'Pacific/Apia', // 30 December 2011 never was
  'Pacific/Kwajalein', // nor was 21 August 1993
  'Pacific/Chatham',
]

const shown = new Map<string, Intl.DateTimeFormat>()
/** The date on the wall, as text that sorts. */
function dateAt(timeMs: number, timeZone: string): string {
  let format = shown.get(timeZone)
  if (!format) {
    format = new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' })
    shown.set(timeZone, format)
  }
  return format.format(timeMs)
}

/** The latest date that was shown up to a time: a day that has begun is not taken back. */
function latestDate(timeMs: number, timeZone: string): string {
  let latest = dateAt(timeMs, timeZone)
  for (let back = 0; back <= 180; back++) {
    const date = dateAt(timeMs - back * minuteMs, timeZone)
    if (date > latest) latest = date
  }
  return latest
}

function unitOf(date: string, unit: Unit): string {
  if (unit === 'day') return date
  if (unit === 'month') return date.slice(0, 7)
  if (unit === 'year') return date.slice(0, 4)
  const days = Date.parse(date) / dayMs
  return String(Math.floor((days + 3) / 7)) // 1 January 1970 was a Thursday
}

/** The transitions of a zone, found by looking at its dates and hours. */
function transitions(timeZone: string): number[] {
  const format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' })
  const offset = (timeMs: number) => format.format(timeMs).replace(/^.*GMT/, '')
  const found: number[] = []
  for (let at = Date.UTC(1970, 0, 1); at < Date.UTC(2030, 0, 1); at += 14 * dayMs) {
    if (offset(at) === offset(at + 14 * dayMs)) continue
    let [low, high] = [at, at + 14 * dayMs]
    while (high - low > minuteMs) {
      const middle = Math.floor((low + high) / 2 / minuteMs) * minuteMs
      if (offset(middle) === offset(low)) low = middle
      else high = middle
    }
    found.push(high)
  }
  return found
}

describe('windows of the calendar', () => {
  it('are those of the clock on the wall, also where it changes', () => {
    const places = new Map(zones.map((zone) => [zone, [0, ...transitions(zone)]]))
    const around = fc.constantFrom(...zones).chain((timeZone) =>
      fc.record({
        timeZone: fc.constant(timeZone),
        at: fc.oneof(
          fc.integer({ min: Date.UTC(1970, 0, 2), max: Date.UTC(2100, 0, 1) }),
          fc
            .tuple(fc.constantFrom(...places.get(timeZone)!), fc.integer({ min: -26 * 60, max: 26 * 60 }))
            .map(([transition, minutes]) => transition + minutes * minuteMs),
          fc
            .tuple(fc.constantFrom(...places.get(timeZone)!), fc.integer({ min: -200_000, max: 200_000 }))
            .map(([transition, ms]) => transition + ms),
        ),
        unit: fc.constantFrom('day' as const, 'week' as const, 'month' as const, 'year' as const),
      }),
    )
    fc.assert(
      fc.property(around, ({ timeZone, at, unit }) => {
        const shape = calendar(unit, { timeZone })
        const start = shape.startOf(at)
        const end = shape.endOf(start)
        const of = (timeMs: number) => unitOf(latestDate(timeMs, timeZone), unit)
        expect(start <= at && at < end).toBe(true)
        expect([of(start), of(end - 1)]).toEqual([of(at), of(at)])
        expect(of(start - 1)).not.toBe(of(at))
        expect(of(end)).not.toBe(of(at))
        // windows follow each other without gap or overlap, whatever was asked before
        for (const asked of [shape, calendar(unit, { timeZone })]) {
          expect([asked.startOf(end), asked.startOf(end - 1), asked.before(end)]).toEqual([end, start, start])
          expect([asked.endOf(start), asked.endOf(asked.before(start))]).toEqual([end, start])
        }
      }),
      { numRuns: 500 },
    )
  })

  it('of a day that had begun when clocks went back over midnight go on', () => {
    // St. John's, 29 October 2006: at 00:01 it was 23:01 of the 28th again
    const day = calendar('day', { timeZone: 'America/St_Johns' })
    const begins = Date.parse('2006-10-29T02:30:00Z')
    for (const after of [0, 30_000, 60_000, 30 * 60_000, 61 * 60_000, 23 * 3_600_000]) {
      expect(new Date(day.startOf(begins + after)).toISOString()).toBe(new Date(begins).toISOString())
    }
    expect(day.startOf(begins - 1)).toBe(begins - dayMs)
    expect(day.endOf(begins) - begins).toBe(25 * 3_600_000)
  })

  it('pass over a day that never was', () => {
    const day = calendar('day', { timeZone: 'Pacific/Apia' })
    const start = day.startOf(Date.parse('2011-12-30T09:59:59Z'))
    expect(new Date(start).toISOString()).toBe('2011-12-29T10:00:00.000Z')
    expect(new Date(day.endOf(start)).toISOString()).toBe('2011-12-30T10:00:00.000Z')
    expect(dateAt(day.endOf(start), 'Pacific/Apia')).toBe('2011-12-31')
  })
})
