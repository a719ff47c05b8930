// Names that meet: a row is told as one object, so each of its fields needs a name of its own.
import { describe, expect, it } from 'vitest'
import { runProgram } from '../../test/support/program.ts'
import { count, type Rows, type Stream, tumbling, view } from './index.ts'

interface Flight {
  at: number
  origin: string
}

// biome-ignore lint/suspicious/noExplicitAny: rows of whatever fields
const reported = (describe: (flights: Stream<Flight>) => Rows<any>, key = 'origin') => {
  const target = view('flights', { key }) as never
  return () => runProgram((flights) => describe(flights as never).to(target), [])
}
const windowed = (flights: Stream<Flight>) =>
  flights
    .time((f) => f.at)
    .keyBy((f) => f.origin)
    .window(tumbling('1h'))
const refusal = (named: string) =>
  expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(`"${named}"`) })

describe('a row with two fields of one name is refused when it is described', () => {
  it("an aggregate named like the window's start", () => {
    // @ts-expect-error the compiler says so as well
    expect(reported((flights) => windowed(flights).aggregate({ n: count(), start: count() }))).toThrow(refusal('start'))
    const as = (flights: Stream<Flight>) =>
      flights
        .time((f) => f.at)
        .keyBy((f) => f.origin)
        .window(tumbling('1h'), { as: 'hour' })
    // @ts-expect-error
    expect(reported((flights) => as(flights).aggregate({ hour: count() }))).toThrow(refusal('hour'))
    expect(reported((flights) => as(flights).aggregate({ start: count() }))).not.toThrow()
  })

  it('an aggregate named like what says whether it is final', () => {
    const early = (flights: Stream<Flight>) =>
      flights
        .time((f) => f.at)
        .keyBy((f) => f.origin)
        .window(tumbling('1h'), { emit: 'update' })
    // @ts-expect-error
    expect(reported((flights) => early(flights).aggregate({ final: count() }))).toThrow(refusal('final'))
    expect(reported((flights) => windowed(flights).aggregate({ final: count() }))).not.toThrow()
  })

  it("an aggregate, or the window's start, named like the view's key", () => {
    expect(reported((flights) => windowed(flights).aggregate({ key: count() }), 'key')).toThrow(refusal('key'))
    expect(reported((flights) => windowed(flights).aggregate({ n: count() }), 'start')).toThrow(refusal('start'))
    expect(reported((flights) => flights.keyBy((f) => f.origin).aggregate({ origin: count() }))).toThrow(
      refusal('origin'),
    )
    const filtered = (flights: Stream<Flight>) =>
      windowed(flights)
        .aggregate({ key: count() })
        .filter(() => true)
    expect(reported(filtered, 'key')).toThrow(refusal('key'))
  })

  it('and one like what rows that go on call their key', () => {
    const on = (flights: Stream<Flight>) =>
      windowed(flights)
        .aggregate({ key: count() })
        .stream('key')
        .keyBy((row) => row.key as never)
        .rows(() => ({}))
    expect(reported(on)).toThrow(refusal('key'))
  })
})

it('a row that says another key than its own is refused when it comes', () => {
  const flights = [
    { value: { at: 1, origin: 'ATL' } },
    { value: { at: 2, origin: 'SFO' } },
    { value: { at: 3, origin: 'ATL' } },
  ]
  const { rows, rejected } = runProgram(
    (s) =>
      s
        .keyBy((f) => f.origin)
        .rows((f) => ({ airport: 'ATL', at: f.at }))
        .stream('airport')
        .keyBy((f) => f.airport)
        .rows((f) => ({ at: f.at }))
        .to(view('flights', { key: 'origin' }) as never),
    flights,
  )
  expect(rows.map(({ value }) => value)).toEqual([{ at: 1 }, { at: 3 }])
  expect(rejected).toMatchObject([{ code: 'INVALID_INPUT' }])
})
