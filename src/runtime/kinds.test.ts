// Kinds of units are specs: their examples run, and they use of the bus what they say.
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { until, withNats } from '../../test/support/nats.ts'
import { bucketStream, ensureStream, streamInfo } from '../bus/internal.ts'
import type { UnitKind } from '../unit/internal.ts'
import { parseConfig, serve } from '../unit/internal.ts'
import { builtInUnits, parseComposition, unitKind } from './index.ts'

const nats = withNats()

async function exampleOf(kind: UnitKind) {
  const [[unit, spec]] = Object.entries(parse(kind.example)) as [[string, { use: string; config?: object }]]
  return { unit, spec }
}

it.each([...builtInUnits])(
  '%s: its example is a composition, and its access needs nothing but its configuration',
  async (use) => {
    const kind = await unitKind(use, 'use')
    const { unit, spec } = await exampleOf(kind)
    const { units } = await parseComposition({ name: 'example', units: { [unit]: spec } }, 'example')
    expect(units[unit]).toMatchObject({ use: kind.use })
    const config = kind.unit.config ? await parseConfig(kind.unit, spec.config ?? {}, unit) : {}
    const access = kind.access(config, { unit, site: 'local' })
    for (const subject of [...access.publishes, ...access.subscribes])
      expect(subject).toMatch(/^[\w*>-]+(\.[\w*>-]+)+$/)
  },
)

it.each([1, 3])(
  'a processor of %s partitions makes the streams that its kind names, and no others',
  async (partitions) => {
    const kind = await unitKind('myelin:processor', 'use')
    const { spec } = await exampleOf(kind)
    await ensureStream(nats.bus, { name: 'EVT_flights_departed', subjects: ['evt.flights.departed.*'] })
    const name = `hourly${partitions}`
    const given = { ...spec.config, partitions, name, to: { view: name, key: 'origin' } }
    const config = await parseConfig(kind.unit, given, name)
    const { owns, reads } = kind.access(config, { unit: name, site: 'local' })
    const before = new Set(await streams())
    const unit = await serve(nats.bus, kind.unit, { config: given, unit: name })
    nats.bus.publish('evt.flights.departed.ATL', Buffer.from('{"date":"gate 12"}'))
    await until(async () => ((await streamInfo(nats.bus, `BAD_${name}`))?.state.messages ?? 0) > 0)
    const made = (await streams()).filter((stream) => !before.has(stream))
    const named = [...owns.streams, ...reads.streams, ...reads.buckets.map(bucketStream)]
    expect(made.filter((stream) => !named.includes(stream))).toEqual([])
    expect(owns.streams.filter((stream) => !made.includes(stream))).toEqual([])
    await unit.drain()
  },
)

async function streams(): Promise<string[]> {
  const reply = await nats.bus.request('$JS.API.STREAM.NAMES', new Uint8Array(0))
  return (JSON.parse(Buffer.from(reply.data).toString()) as { streams: string[] }).streams
}
