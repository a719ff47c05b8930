// Waits for others' answers have an end.
import { failure, setLongTimeout } from '../bus/internal.ts'

/**
 * What `ask` gives, or an error when that takes too long. `ask` is given a signal that says when nobody waits any more.
 * @throws MyelinError DEADLINE_EXCEEDED, CANCELLED when `stop` is aborted; and what `ask` rejects with
 */
export async function within<Answer>(
  what: string,
  ms: number,
  stop: AbortSignal,
  ask: (signal: AbortSignal) => Promise<Answer>,
): Promise<Answer> {
  if (stop.aborted) throw failure('CANCELLED', `${what} was given up: the processor stops`)
  const over = new AbortController()
  const ended = Promise.withResolvers<never>()
  const end = (error: Error) => {
    ended.reject(error)
    over.abort(error)
  }
  const stopped = () => end(failure('CANCELLED', `${what} was given up: the processor stops`))
  const timer = setLongTimeout(() => end(failure('DEADLINE_EXCEEDED', `${what} took longer than ${ms} ms`)), ms)
  stop.addEventListener('abort', stopped, { once: true })
  try {
    return await Promise.race([ask(over.signal), ended.promise])
  } finally {
    timer.clear()
    stop.removeEventListener('abort', stopped)
  }
}
