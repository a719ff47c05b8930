// A deadline on its way from one process to another, whose clocks need not agree: what travels is how much time is left,
// and the receiver counts from the arrival by its own clock. The absolute time beside it is for receivers that want one.
import { now } from './clock.ts'
import { type HeaderReader, header } from './headers.ts'

/** Header lines of a request that is sent now and whose deadline is this, in ms of `now()`. */
export function deadlineLines(deadline: number): string {
  const leftMs = Math.max(1, Math.ceil(deadline - now()))
  return `${header.timeout}:${leftMs}\r\n${header.deadline}:${Date.now() + leftMs}\r\n`
}

/**
 * When a request that arrived at `arrived` (ms of `now()`) ends, or undefined when it does not say. The time left wins
 * over the absolute time, which raw clients may send alone; what is no number counts as not sent.
 */
export function readDeadline(headers: HeaderReader, arrived: number): number | undefined {
  const left = headers.get(header.timeout)
  if (left !== undefined && left !== '') {
    const leftMs = Number(left)
    if (Number.isFinite(leftMs)) return arrived + leftMs
  }
  const at = Number(headers.get(header.deadline))
  return at > 0 && at < Number.POSITIVE_INFINITY ? arrived + at - Date.now() : undefined
}
