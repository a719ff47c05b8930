// Questions to JetStream that are asked again while the answer fails to come: the server restarts, the connection was
// lost, a leader is elected. Only for what may be asked twice.
import { backoff } from '../backoff.ts'
import type { Bus } from '../bus.ts'
import { now } from '../clock.ts'
import { sleep } from '../timer.ts'
import { apiFailure } from './api.ts'

/**
 * Asks until there is an answer, or the time is over. `where` begins the message of what it fails with then.
 *
 * @example const info = await askAgain(bus, 'the orders', () => streamInfo(bus, 'EVT_shop_ordered'))
 *
 * @throws MyelinError what no second question would change, and after `timeoutMs` (30 s) what the last one failed with
 */
export async function askAgain<Answer>(
  bus: Bus,
  where: string,
  ask: () => Promise<Answer>,
  timeoutMs = 30_000,
): Promise<Answer> {
  const end = now() + timeoutMs
  const nextMs = backoff(50, 1_000)
  for (;;) {
    const waitMs = nextMs()
    try {
      return await ask()
    } catch (error) {
      const mapped = apiFailure(error, where)
      // a server that has just started may not listen for its streams yet
      const passes = mapped.retriable || mapped.code === 'JETSTREAM_DISABLED'
      if (!passes || bus.nats.isClosed() || now() + waitMs > end) throw mapped
    }
    await sleep(waitMs)
  }
}
