import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { count, mean, quantile, quantileOf, share, sum } from './aggregates.ts'
import { Circuit } from './circuit.ts'
import { tumbling, Windows } from './windows.ts'

interface Event {
  key: string
  timeMs: number
  value: number
}

/** Feeds events in order; the watermark follows the latest, `outOfOrderMs` behind. Returns rows in the order they came. */
function run(events: readonly Event[], sizeMs: number, outOfOrderMs: number, latenessMs: number, saveEvery = 0) {
  const rows: [string, number, number, number][] = []
  const build = () => {
    const circuit = new Circuit(() => undefined)
    const windows = new Windows<Event>(
      circuit,
      tumbling(sizeMs),
      latenessMs,
      [count<Event>(), sum<Event>((e) => e.value)],
      (key, startMs, [events, total]) => rows.push([key, startMs, events as number, total as number]),
    )
    circuit.add(windows)
    return { circuit, windows }
  }
  let { circuit, windows } = build()
  events.forEach((event, i) => {
    if (saveEvery > 0 && i % saveEvery === 0) {
      const saved = JSON.parse(JSON.stringify(circuit.save()))
      ;({ circuit, windows } = build())
      circuit.restore(saved)
    }
    windows.push(event.key, event, event.timeMs)
    circuit.advance(event.timeMs - outOfOrderMs)
  })
  circuit.advance(Number.POSITIVE_INFINITY)
  return { rows, late: circuit.late, open: circuit.open }
}

const events = fc.array(
  fc.record({
    key: fc.constantFrom('a', 'b', 'c'),
    timeMs: fc.integer({ min: -5_000, max: 5_000 }),
    value: fc.integer({ min: -100, max: 100 }),
  }),
  { maxLength: 200 },
)
const times = fc.record({
  sizeMs: fc.integer({ min: 1, max: 1_000 }),
  outOfOrderMs: fc.integer({ min: 0, max: 2_000 }),
  latenessMs: fc.integer({ min: 0, max: 2_000 }),
})

describe('windows', () => {
  it('give in the end what grouping gives, for every event that was not too late', () => {
    fc.assert(
      fc.property(events, times, (list, { sizeMs, outOfOrderMs, latenessMs }) => {
        // the plain model: keep what comes before its window is closed for good, then group
        let watermark = Number.NEGATIVE_INFINITY
        let late = 0
        const expected = new Map<string, [number, number]>()
        for (const { key, timeMs, value } of list) {
          const start = Math.floor(timeMs / sizeMs) * sizeMs
          if (start + sizeMs + latenessMs <= watermark) late += 1
          else {
            const group = expected.get(`${key} ${start}`) ?? [0, 0]
            expected.set(`${key} ${start}`, [group[0] + 1, group[1] + value])
          }
          watermark = Math.max(watermark, timeMs - outOfOrderMs)
        }
        const { rows, late: counted, open } = run(list, sizeMs, outOfOrderMs, latenessMs)
        const last = new Map(rows.map(([key, start, n, total]) => [`${key} ${start}`, [n, total]]))
        expect(last).toEqual(expected)
        expect(counted).toBe(late)
        expect(open).toBe(0)
      }),
    )
  })

  it('go on from a checkpoint as if nothing had happened', () => {
    fc.assert(
      fc.property(events, times, fc.integer({ min: 1, max: 20 }), (list, t, saveEvery) => {
        const args = [list, t.sizeMs, t.outOfOrderMs, t.latenessMs] as const
        expect(run(...args, saveEvery)).toEqual(run(...args))
      }),
    )
  })

  it('come out once, in the order of their ends and then of their keys, when nothing is late', () => {
    fc.assert(
      fc.property(events, fc.integer({ min: 1, max: 1_000 }), (list, sizeMs) => {
        const sorted = [...list].sort((a, b) => a.timeMs - b.timeMs)
        const { rows } = run(sorted, sizeMs, 0, 0)
        const order = rows.map(([key, start]) => [start, key] as const)
        expect(order).toEqual([...order].sort(([a, x], [b, y]) => a - b || (x < y ? -1 : x > y ? 1 : 0)))
        expect(new Set(order.map(String)).size).toBe(order.length)
      }),
    )
  })

  it('refuse a size that is no duration', () => {
    expect(() => tumbling('soon' as never)).toThrow('tumbling: "soon" is not a duration')
    expect(() => tumbling(0)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
  })
})

describe('aggregates', () => {
  it('count, sum, mean and share as their names say', () => {
    const of = <R>({ init, add, result }: { init(): never; add(s: never, v: number): never; result(s: never): R }) =>
      result([1, 2, 6].reduce((state: never, value) => add(state, value), init()))
    expect(of(count() as never)).toBe(3)
    expect(of(sum((v: number) => v) as never)).toBe(9)
    expect(of(mean((v: number) => v) as never)).toBe(3)
    expect(of(share((v: number) => v > 1) as never)).toBeCloseTo(2 / 3)
    expect(of(quantile(0.5, (v: number) => v) as never)).toBe(2)
  })

  it('quantiles lie between neighbours and reach the ends', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), fc.double({ min: 0, max: 1, noNaN: true }), (values, q) => {
        const sorted = [...values].sort((a, b) => a - b)
        const found = quantileOf(values, q)
        const rank = (sorted.length - 1) * q
        expect(found).toBeGreaterThanOrEqual(sorted[Math.floor(rank)]! - 1e-6)
        expect(found).toBeLessThanOrEqual(sorted[Math.ceil(rank)]! + 1e-6)
      }),
    )
    expect(quantileOf([3, 1, 2], 0)).toBe(1)
    expect(quantileOf([3, 1, 2], 1)).toBe(3)
  })
})
