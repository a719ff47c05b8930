// The limit: one subscription for all replies, a map of pending calls, JSON on both sides, and nothing else. No deadline,
// no schema, no headers.
import { connect } from '@nats-io/transport-node'
import { loadOf } from './load.ts'
import { request } from './payload.ts'

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value))
const value = (data: Uint8Array) => JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString())

export async function serve(url: string) {
  const nats = await connect({ servers: url })
  nats.subscribe('raw.echo', {
    queue: 'q',
    callback: (_error, message) => void message.respond(bytes(value(message.data))),
  })
  await nats.flush()
}

export async function call(url: string) {
  const nats = await connect({ servers: url })
  const pending = new Map<string, (value: unknown) => void>()
  const prefix = `_INBOX.raw${process.pid}.`
  nats.subscribe(`${prefix}*`, {
    callback: (_error, message) => {
      const token = message.subject.slice(prefix.length)
      pending.get(token)!(value(message.data))
      pending.delete(token)
    },
  })
  let counter = 0
  return loadOf(
    () =>
      new Promise((resolve) => {
        counter += 1
        const token = counter.toString(36)
        pending.set(token, resolve)
        nats.publish('raw.echo', bytes(request), { reply: prefix + token })
      }),
  )
}
