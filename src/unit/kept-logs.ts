// The log lines of the last day, kept in a bounded stream for `myelin logs --since`.
import { type Bus, ensureStream, keepBelow, nameOf, ownedStream } from '../bus/internal.ts'

export const logsStream = nameOf('logs')

const keptBytes = 64 * 1024 ** 2
const lookEveryMs = 60_000

/**
 * Keeps what units of this system log: at most 24 hours, 100,000 lines and about 64 MiB, the newest. Nothing waits for it,
 * and where it cannot be (no JetStream, no permission, a stream of yours with that name or those subjects) logs are only
 * live, which is said once. Call the result to stop.
 */
export function keepLogs(bus: Bus, onProblem: (error: unknown) => void): () => void {
  let reported = false
  const spec = {
    ...ownedStream('logs'),
    subjects: ['log.>'],
    description: 'what units logged in the last day',
    maxAgeMs: 86_400_000,
    maxMessages: 100_000,
    discard: 'old',
  } as const
  const look = () =>
    ensureStream(bus, spec)
      .then(() => keepBelow(bus, logsStream, keptBytes))
      .catch((error: unknown) => {
        if (!reported) onProblem(error)
        reported = true
      })
  void look()
  const timer = setInterval(() => void look(), lookEveryMs)
  timer.unref()
  return () => clearInterval(timer)
}
