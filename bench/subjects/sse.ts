// What the event stream servers of the benchmark share: the subject they listen to and how much memory they take.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Core events, JSON of about 128 bytes with the time they were sent in it. */
export const subject = 'evt.bench.tick'
export const subscribers = 5_000

/** Microseconds of a clock that all processes share, always of 15 digits. */
export const nowMicros = () => 1e14 + Number(process.hrtime.bigint() / 1_000n)

setFlagsFromString('--expose_gc')
const collect = runInNewContext('gc') as () => void

/** Answers with the port, and with the memory of this process after a collection. */
export function serving(port: number) {
  return async () => {
    collect()
    const { rss, heapUsed, external } = process.memoryUsage()
    return { port, rss, heap: heapUsed + external }
  }
}
