// An explicit-ack pull consumer of the client library: JSON, a trivial handler, an acknowledgement each.
import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { request } from './payload.ts'

export async function work(url: string) {
  const nats = await connect({ servers: url })
  const js = jetstream(nats)
  const manager = await jetstreamManager(nats)
  await manager.streams.add({ name: 'RAW', subjects: ['raw.work'], retention: RetentionPolicy.Workqueue })
  await manager.consumers.add('RAW', {
    durable_name: 'workers',
    ack_policy: AckPolicy.Explicit,
    max_ack_pending: 10_000,
  })
  return async ({ jobs }: { jobs: number }) => {
    let started = performance.now()
    for (let i = 0; i < jobs; i += 512) {
      await Promise.all(
        Array.from({ length: Math.min(512, jobs - i) }, () => js.publish('raw.work', JSON.stringify(request))),
      )
    }
    const enqueued = (jobs * 1_000) / (performance.now() - started)
    started = performance.now()
    const consumer = await js.consumers.get('RAW', 'workers')
    const messages = await consumer.consume({ max_messages: 1_000 })
    let done = 0
    for await (const message of messages) {
      message.json()
      message.ack()
      done += 1
      if (done === jobs) break
    }
    await nats.flush()
    return { enqueued, consumed: (jobs * 1_000) / (performance.now() - started) }
  }
}
