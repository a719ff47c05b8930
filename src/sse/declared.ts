// The unit `myelin:sse`: a gateway that is declared, of views, events, tables and streams that are named.
import { z } from 'zod'
import type { Bus } from '../bus/internal.ts'
import { locate } from '../stream/index.ts'
import { defineUnit, type Unit } from '../unit/internal.ts'
import { Config } from './config.ts'
import { sseGateway } from './gateway.ts'
import { fromStream, fromTable, type SseSource } from './source.ts'

const offered = z
  .strictObject({
    view: z.string().optional().describe('a view: the latest row of each key, then every new one'),
    event: z.string().optional().describe('a durable event, <contract>.<event>: new ones, and what was missed'),
    table: z.string().optional().describe('a key-value bucket: every key, then every change'),
    stream: z.string().optional().describe('any stream of JSON: new messages; with `subject`'),
    subject: z.string().optional().describe('which of its messages'),
  })
  .refine(
    ({ subject, ...one }) => Object.keys(one).length === 1 && (one.stream === undefined) === (subject === undefined),
    'expected { view }, { event }, { table }, or { stream, subject }',
  )
type Offered = z.output<typeof offered>

const Declared = Config.safeExtend({
  streams: z.record(z.string(), offered).describe('what is offered, at GET /streams/<name>'),
})

export type DeclaredConfig = z.output<typeof Declared>

export const declaredGateway: Unit<DeclaredConfig> = defineUnit({
  kind: 'sse',
  name: 'sse',
  description: 'A gateway that offers views, events, tables and streams to browsers as server-sent events.',
  config: Declared,
  start: async (host) => {
    const { streams } = host.config
    const found = Object.entries(streams).map(async ([name, given]) => {
      return [name, await sourceOf(host.bus, given, `gateway '${host.unit}': streams.${name}`)] as const
    })
    return sseGateway({ streams: Object.fromEntries(await Promise.all(found)) }).start(host)
  },
})

async function sourceOf(bus: Bus, { table, ...named }: Offered, where: string): Promise<SseSource> {
  if (table !== undefined) return fromTable(table)
  const { stream, subject } = await locate(bus, named, where)
  return fromStream(stream, { subject, snapshot: named.view !== undefined })
}
