// The client library's publish and subscribe, JSON of the same bytes.
import { connect } from '@nats-io/transport-node'
import { counted, publishing } from './events.ts'
import { request } from './payload.ts'

export async function subscribe(url: string) {
  const nats = await connect({ servers: url })
  const counter = await counted(nats)
  nats.subscribe('bench.raw', {
    callback: (_error, { data }) => {
      counter.add(JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString()).n)
    },
  })
  await nats.flush()
}

export async function publish(url: string) {
  const nats = await connect({ servers: url })
  let ahead = 0
  return publishing(nats, () => {
    nats.publish('bench.raw', Buffer.from(JSON.stringify(request)))
    ahead += 1
    // as Myelin does by itself: never more than the server keeps up with
    return ahead % 4_096 === 0 ? nats.flush() : undefined
  })
}
