// Event times as data has them: what is a time, and that one which is none concerns nobody else.
import { describe, expect, it } from 'vitest'
import { type Fed, runProgram } from '../../test/support/program.ts'
import { type MyelinError, parseTime } from '../bus/internal.ts'
import { count } from './aggregates/index.ts'
import { processorConfig } from './processor-config.ts'
import type { Sink, Stream } from './program/index.ts'
import { view } from './view.ts'
import { calendar, counted, hopping, session, sliding, tumbling } from './windows/index.ts'

interface Event {
  key: string
  place: number
}
const out = view('out', { key: 'key' })
const shapes = [
  tumbling('1h'),
  hopping('1h', { every: '20m' }),
  session('30m'),
  sliding('1h'),
  counted(1),
  calendar('day', { timeZone: 'America/New_York' }),
]
const good = Date.parse('2001-07-01T12:00:00Z')

const run = (shape: (typeof shapes)[number], times: readonly unknown[]) =>
  runProgram(
    (input: Stream<Event>): Sink =>
      input
        .time((e) => times[e.place] as number)
        .keyBy((e) => e.key)
        .window(shape)
        .aggregate({ n: count() })
        .to(out as never),
    [
      ...times.map((_, place): Fed => ({ value: { key: 'a', place }, storedMs: good })),
      { value: undefined, end: true, storedMs: good },
    ],
  )

describe('an event whose time is none', () => {
  it('is refused alone, wherever it comes', () => {
    const none = [
      'gate 12',
      '2021-02-31',
      '2001-07-01T12:00:00',
      '',
      null,
      undefined,
      {},
      [],
      true,
      12n,
      new Date('no'),
      Number.NaN,
      Number.POSITIVE_INFINITY,
      -(2 ** 63),
      2 ** 63,
      8.64e15,
      -8.64e15,
      Date.parse('0000-01-01T00:00:00Z') - 1,
      '2001-07-03T12:00:00Z', // more than a day after it was stored
    ]
    for (const shape of shapes) {
      const alone = run(shape, [good, good + 1])
      for (const at of none) {
        for (const times of [
          [at, good, good + 1],
          [good, at, good + 1],
          [good, good + 1, at],
        ]) {
          const ran = run(shape, times)
          const what = `${shape.description} ${String(at)}`
          expect(
            ran.rejected.map((error) => (error as MyelinError).code),
            what,
          ).toEqual(['INVALID_INPUT'])
          expect(ran.rows, what).toEqual(alone.rows)
        }
      }
    }
  })
})

describe('an event time', () => {
  it('is the same as a number with a fraction, as a Date, and as a text of any zone', () => {
    for (const shape of shapes) {
      const whole = run(shape, [good, good + 1]).rows
      expect(whole.length).toBeGreaterThan(0)
      for (const times of [
        [good + 0.25, good + 1.999],
        [new Date(good), new Date(good + 1)],
        ['2001-07-01T12:00:00.0009Z', '2001-07-01t12:00:00.001-00:00'],
        ['2001-07-01T14:00:00+02:00', '2001-07-01T08:00:00.001999-04:00'],
      ]) {
        const ran = run(shape, times)
        expect(ran.rejected).toEqual([])
        expect(ran.rows, shape.description).toEqual(whole)
      }
    }
  })

  it('may be as far away as four digits of a year go, and rows tell it', () => {
    for (const shape of shapes.slice(0, 4)) {
      const ran = run(shape, ['0000-01-01T00:00:00Z', '1969-12-31T23:59:59.999Z', '2001-07-01'])
      expect(ran.rejected).toEqual([])
      expect(ran.rows.length).toBeGreaterThan(2)
    }
    const years = run(tumbling('1d'), ['0000-01-01', '2001-07-01']).rows.map(({ value }) => parseTime(value.start))
    expect(years).toEqual([Date.parse('0000-01-01T00:00:00.000Z'), Date.parse('2001-07-01')])
  })
})

it('a span of time that is no time is refused before anything starts', () => {
  for (const from of ['gate 12', '2001-02-31', '2001-07-01T12:00:00', '1700000000000', '']) {
    const { error } = processorConfig.safeParse({ from })
    expect(error?.issues[0]?.message).toContain('RFC 3339')
  }
  expect(processorConfig.safeParse({ from: '2001-07-01', until: '2001-07-01T12:00:00+02:00' }).success).toBe(true)
})
