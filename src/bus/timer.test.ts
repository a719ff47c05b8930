import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { setLongTimeout, sleep, timerMs } from './internal.ts'

const dayMs = 86_400_000

describe('long waits', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('of more than 24.8 days come when they should, once, and not at once', () => {
    let fired = 0
    setLongTimeout(() => fired++, 60 * dayMs)
    vi.advanceTimersByTime(60 * dayMs - 1)
    expect(fired).toBe(0)
    vi.advanceTimersByTime(1)
    expect(fired).toBe(1)
    vi.advanceTimersByTime(60 * dayMs)
    expect([fired, vi.getTimerCount()]).toEqual([1, 0])
  })

  it('can be called off in any of their parts, and never come when they are endless', () => {
    let fired = 0
    const timer = setLongTimeout(() => fired++, 60 * dayMs)
    vi.advanceTimersByTime(30 * dayMs)
    timer.clear()
    const endless = setLongTimeout(() => fired++, Number.POSITIVE_INFINITY)
    vi.advanceTimersByTime(100 * dayMs)
    endless.clear()
    expect([fired, vi.getTimerCount()]).toEqual([0, 0])
  })

  it('end early when their signal is aborted', async () => {
    const stop = new AbortController()
    const slept = sleep(60 * dayMs, stop.signal)
    stop.abort()
    await slept
    await sleep(60 * dayMs, stop.signal)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('between two beats of an interval are cut to what a timer keeps', () => {
    expect([timerMs(1_000), timerMs(30 * dayMs)]).toEqual([1_000, 2 ** 31 - 1])
  })
})
