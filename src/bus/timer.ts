// Timers as long as a user likes. Node keeps a delay in 32 bits: one above 24.8 days fires after a millisecond instead,
// and an interval then fires a thousand times a second.

/** The longest delay that Node's timers keep, in ms: 24.8 days. */
export const longestTimerMs = 2 ** 31 - 1

/** A delay for `setInterval`, where firing more often than asked, every 24.8 days, does no harm. */
export function timerMs(ms: number): number {
  return Math.min(ms, longestTimerMs)
}

/** A timer started by {@link setLongTimeout}. */
export interface LongTimer {
  clear(): void
  /** Does not keep the process alive. */
  unref(): LongTimer
}

/** As `setTimeout`, for any delay; `Infinity` never fires. */
export function setLongTimeout(callback: () => void, ms: number): LongTimer {
  let left = ms
  let timer: NodeJS.Timeout
  let referenced = true
  const arm = () => {
    const part = timerMs(left)
    timer = setTimeout(() => {
      left -= part
      if (left > 0) arm()
      else callback()
    }, part)
    if (!referenced) timer.unref()
  }
  arm()
  const handle: LongTimer = {
    clear: () => clearTimeout(timer),
    unref: () => {
      referenced = false
      timer.unref()
      return handle
    },
  }
  return handle
}

/**
 * Resolves after any delay, or as soon as the signal is aborted: look at the signal afterwards.
 * @example await sleep(1_000, signal)
 */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = () => {
      timer.clear()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setLongTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}
