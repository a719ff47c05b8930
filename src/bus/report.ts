// Errors of callbacks that nobody awaits: a subscriber's, a listener's. They are told as a warning of the process, so
// that none is lost where nobody listens, but not once per message.

const everyMs = 10_000
let warnedAt = Number.NEGATIVE_INFINITY
let suppressed = 0

/** Writes a warning that names the place, at most one in 10 s; the next says how many were left out. */
export function warn(error: Error, where: string): void {
  const at = performance.now()
  if (at - warnedAt < everyMs) {
    suppressed += 1
    return
  }
  warnedAt = at
  const more = suppressed > 0 ? ` (${suppressed} more since the last warning)` : ''
  suppressed = 0
  process.emitWarning(`${where} failed: ${error.stack ?? error.message}${more}`, { type: 'MyelinWarning' })
}

/** What was thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
