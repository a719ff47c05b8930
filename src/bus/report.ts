// Errors of callbacks that nobody awaits: a subscriber's, a listener's. They are told as a warning of the process, so
// that none is lost where nobody listens, but not once per message.

const everyMs = 10_000
let toldAt = Number.NEGATIVE_INFINITY
let untold = 0

/** Writes a warning that names the place, at most one in 10 s; the next says how many were left out. */
export function warn(error: Error, where: string): void {
  const at = performance.now()
  if (at - toldAt < everyMs) {
    untold += 1
    return
  }
  toldAt = at
  const more = untold > 0 ? ` (${untold} more since the last warning)` : ''
  untold = 0
  process.emitWarning(`${where} failed: ${error.stack ?? error.message}${more}`, { type: 'MyelinWarning' })
}

/** What was thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
