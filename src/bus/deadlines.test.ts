import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Deadline, deadlines, now } from './internal.ts'

class Probe extends Deadline {
  deadline: number
  readonly fired: number[] = []
  readonly #then: () => void
  constructor(deadline: number, then: () => void = () => {}) {
    super()
    this.deadline = deadline
    this.#then = then
  }
  onDeadline(): void {
    this.fired.push(now())
    this.#then()
  }
}

const latestMs = 20
const added: Probe[] = []
const add = (probe: Probe) => {
  added.push(probe)
  deadlines.add(probe)
  return probe
}
beforeEach(() => void vi.useFakeTimers({ toFake: ['Date', 'performance', 'setInterval', 'clearInterval'] }))
afterEach(() => {
  for (const probe of added.splice(0)) deadlines.cancel(probe)
  vi.advanceTimersByTime(50) // the empty wheel stops its timer
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

type Step =
  | { readonly do: 'add'; readonly inMs: number }
  | { readonly do: 'cancel' | 'again'; readonly which: number; readonly inMs: number }
  | { readonly do: 'wait'; readonly ms: number }

const span = fc.oneof(fc.integer({ min: -500, max: 200 }), fc.integer({ min: 0, max: 25_000 }))
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('add' as const), inMs: span }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('cancel', 'again'), which: fc.nat(), inMs: span }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(12_000) }) },
)

describe('deadlines', () => {
  it('all come exactly once, never early, at most 20 ms late, and cancelled ones never', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        // the model: for each probe when it was last added and whether it is still wanted
        const model: { probe: Probe; since: number; wanted: boolean }[] = []
        const check = () => {
          for (const { probe, since, wanted } of model) {
            const due = Math.max(probe.deadline, since)
            const last = probe.fired.at(-1)
            if (!wanted) continue
            if (now() >= due + latestMs) expect(probe.fired.length).toBe(1)
            if (last === undefined) continue
            expect(probe.fired.length).toBe(1)
            expect(last).toBeGreaterThanOrEqual(probe.deadline)
            expect(last).toBeLessThanOrEqual(due + latestMs)
          }
        }
        for (const action of steps) {
          const at = now()
          if (action.do === 'wait') vi.advanceTimersByTime(action.ms)
          else if (action.do === 'add') model.push({ probe: add(new Probe(at + action.inMs)), since: at, wanted: true })
          else if (model.length > 0) {
            const entry = model[action.which % model.length]!
            const before = entry.probe.fired.length
            deadlines.cancel(entry.probe)
            if (action.do === 'cancel') {
              entry.wanted &&= before > 0
              if (before === 0) entry.probe.fired.push = () => expect.fail('fired after it was cancelled')
            } else if (before === 0 && entry.wanted) {
              entry.probe.deadline = at + action.inMs
              entry.since = at
              deadlines.add(entry.probe)
            }
          }
          check()
        }
        vi.advanceTimersByTime(26_000)
        check()
      }),
      { numRuns: 150 },
    )
  })

  it('survive a handler that cancels its neighbours, adds new ones and adds itself again', () => {
    const at = now() + 50
    const log: string[] = []
    const second = new Probe(at, () => log.push('second'))
    const third = new Probe(at, () => log.push('third'))
    const follower = new Probe(at, () => log.push('follower'))
    let turns = 0
    const self: Probe = new Probe(at, () => {
      log.push('self')
      deadlines.cancel(second)
      deadlines.add(follower)
      added.push(follower)
      if (++turns < 3) deadlines.add(self)
    })
    add(third)
    add(second)
    add(self) // the last one added is visited first
    vi.advanceTimersByTime(200)
    expect(log.filter((name) => name === 'self').length).toBe(3)
    expect(log).toContain('third')
    expect(log).toContain('follower')
    expect(log).not.toContain('second')
  })

  it('that lie in the past come at the next tick, not inside add()', () => {
    const probe = add(new Probe(0))
    expect(probe.fired.length).toBe(0)
    vi.advanceTimersByTime(latestMs)
    expect(probe.fired.length).toBe(1)
  })

  it('added twice come once', () => {
    const probe = add(new Probe(now() + 30))
    deadlines.add(probe)
    vi.advanceTimersByTime(15_000)
    expect(probe.fired.length).toBe(1)
  })

  it('wait one more turn of the event loop after it was blocked, so that replies received meanwhile count', () => {
    const probe = add(new Probe(now() + 100))
    vi.advanceTimersByTime(20)
    const reported = performance.now.bind(performance)
    const blocked = vi.spyOn(performance, 'now').mockImplementation(() => reported() + 30_000) // no timer ran for 30 s
    vi.advanceTimersByTime(10)
    expect(probe.fired.length).toBe(0)
    vi.advanceTimersByTime(10)
    expect(probe.fired.length).toBe(1)
    blocked.mockRestore()
  })

  it('are kept when the system clock is set forward by an hour or back by a minute', () => {
    const [early, late] = [add(new Probe(now() + 500)), add(new Probe(now() + 1_000))]
    vi.setSystemTime(Date.now() + 3_600_000)
    vi.advanceTimersByTime(400)
    expect(early.fired.length).toBe(0)
    vi.setSystemTime(Date.now() - 3_660_000)
    vi.advanceTimersByTime(400)
    expect([early.fired.length, late.fired.length]).toEqual([1, 0])
    vi.advanceTimersByTime(400)
    expect(late.fired.length).toBe(1)
  })

  it('are kept when what follows one of them throws', () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue()
    const at = now() + 50
    const after = add(new Probe(at))
    add(
      new Probe(at, () => {
        throw new Error('a bug')
      }),
    )
    const later = add(new Probe(at + 100))
    vi.advanceTimersByTime(200)
    expect([after.fired.length, later.fired.length]).toEqual([1, 1])
    warned.mockRestore()
  })

  it('that never come cost nothing', () => {
    add(new Probe(Number.POSITIVE_INFINITY))
    expect(vi.getTimerCount()).toBe(0)
  })
})
