// The kind `myelin:sse`.
import { bucketStream } from '../bus/internal.ts'
import { eventStream } from '../contract/internal.ts'
import { viewStream } from '../stream/index.ts'
import { defineKind, nothingStored } from '../unit/internal.ts'
import { type DeclaredConfig, declaredGateway } from './declared.ts'

export const gatewayKind = defineKind<DeclaredConfig>({
  use: 'myelin:sse',
  summary: 'Offers views, events, tables and streams to browsers as server-sent events.',
  guarantee: 'After a reconnect everything missed, once and in order, or `event: gap`; a slow client slows nobody.',
  example: `gateway:
  use: myelin:sse
  config:
    port: 8080
    streams:
      delays: { view: delays }`,
  unit: declaredGateway,
  access({ streams }) {
    const offered = Object.values(streams)
    const tables = offered.flatMap(({ table }) => (table === undefined ? [] : [table]))
    return {
      publishes: [],
      subscribes: [],
      owns: nothingStored,
      reads: {
        streams: [...new Set([...offered.flatMap(streamOf), ...tables.map(bucketStream)])],
        buckets: tables,
        consumers: [],
      },
    }
  },
})

function streamOf({ view, event, stream }: DeclaredConfig['streams'][string]): string[] {
  const [contract = '', name = ''] = event?.split('.') ?? []
  if (event !== undefined) return [eventStream(contract, name)]
  if (view !== undefined) return [viewStream(view)]
  return stream === undefined ? [] : [stream]
}
