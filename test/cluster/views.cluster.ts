// Reading one's own writes on a cluster: whoever leads the streams, and while a leader dies.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { type Bus, connect, now } from '../../src/bus/index.ts'
import { contract } from '../../src/contract/index.ts'
import { client, serve } from '../../src/service/index.ts'
import { count, event, processed, processor, readView, view } from '../../src/stream/index.ts'
import { type Cluster, natsCluster } from '../support/cluster.ts'
import { until } from '../support/nats.ts'

let cluster: Cluster
let bus: Bus
beforeAll(async () => {
  cluster = await natsCluster()
  bus = await connect({ servers: [...cluster.urls] })
})
afterAll(async () => {
  await bus?.close()
  await cluster?.stop()
})

const rooms = contract('rooms', {
  version: '1.0.0',
  events: { entered: { payload: z.object({ room: z.string() }), key: 'room', durable: true } },
})

it.each([1, 4])(
  'a row is there when its event is processed, with %i partitions, also while the view’s leader dies',
  async (partitions) => {
    const name = `visits${partitions}`
    const visits = view(name, { key: 'room', row: z.object({ room: z.string(), n: z.number() }) })
    const unit = processor(name, { from: event(rooms, 'entered'), to: visits, partitions }, (entered) =>
      entered.keyBy(({ room }) => room).aggregate({ n: count() }),
    )
    const own = await connect({ servers: [...cluster.urls] })
    const running = await serve(own, unit)
    await using rows = readView(bus, visits)
    const seen: number[] = []
    const changes = rows.changes({ from: 'start' })
    const following = (async () => {
      for await (const { key, row } of changes) if (key === `a${partitions}`) seen.push(row.n)
    })()
    let killed: number | undefined
    for (let n = 1; n <= 60; n++) {
      if (n === 20) {
        killed = await cluster.leaderOf(bus, visits.spec.name)
        await cluster.kill(killed)
      }
      if (n === 40 && killed !== undefined) await cluster.start(killed)
      const stored = await client(bus, rooms).entered.publish({ room: `a${partitions}` }, { timeoutMs: 60_000 })
      await processed(bus, unit, stored, { deadline: now() + 90_000 })
      expect(await rows.get(`a${partitions}`, { timeoutMs: 30_000 })).toEqual({ room: `a${partitions}`, n })
    }
    await cluster.settled()
    await changes.close()
    await following
    expect(seen).toEqual(Array.from({ length: 60 }, (_, i) => i + 1))
    await running.drain()
    await own.close()
  },
)

it('rows that have expired in the view hold nobody up', async () => {
  const short = view('short', { key: 'room', maxAge: '1s' })
  const unit = processor('short', { from: event(rooms, 'entered'), to: short, partitions: 2 }, (entered) =>
    entered.keyBy(({ room }) => room).aggregate({ n: count() }),
  )
  const running = await serve(bus, unit)
  await using rows = readView(bus, short)
  const stored = await client(bus, rooms).entered.publish({ room: 'gone' })
  await processed(bus, unit, stored, { deadline: now() + 30_000 })
  await until(async () => (await rows.all()).size === 0)
  await processed(bus, unit, stored, { deadline: now() + 30_000 })
  expect(await rows.get('gone')).toBeUndefined()
  await running.drain()
})
