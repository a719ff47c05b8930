// The clock for durations: it counts on evenly whatever is done to the system's clock (a step by NTP, a person, a
// restored virtual machine). For a time of day that others read, `Date.now()` stays the right one.

const origin = performance.timeOrigin

/**
 * Unix milliseconds as the process saw them when it started, plus what has passed since then; never jumps.
 * For deadlines, timeouts, leases and ages inside one process: two processes may read different numbers.
 * @example const deadline = now() + 5_000
 */
export function now(): number {
  return origin + performance.now()
}
