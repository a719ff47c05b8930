// Counting on one side, publishing for a while on the other, until all that was published has been counted.
import type { NatsConnection } from '@nats-io/nats-core'

/** A counter that the publisher can ask. */
export async function counted(nats: NatsConnection): Promise<{ add(count: number): void }> {
  let count = 0
  nats.subscribe('bench.count', { callback: (_error, message) => void message.respond(String(count)) })
  await nats.flush()
  return {
    add: (n) => {
      count += n
    },
  }
}

export function publishing(nats: NatsConnection, publish: () => Promise<unknown> | undefined) {
  const countedNow = async () => Number((await nats.request('bench.count', '', { timeout: 10_000 })).string())
  return async ({ seconds }: { seconds: number }): Promise<number> => {
    const before = await countedNow()
    const started = performance.now()
    const end = started + seconds * 1_000
    let sent = 0
    while (performance.now() < end) {
      for (let i = 0; i < 256; i++) {
        const wait = publish()
        if (wait) await wait
      }
      sent += 256
    }
    for (;;) {
      if ((await countedNow()) - before >= sent) break
      if (performance.now() > end + 20_000) throw new Error('events were lost')
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    return (sent * 1_000) / (performance.now() - started)
  }
}
