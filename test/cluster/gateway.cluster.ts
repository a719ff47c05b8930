// A gateway whose way to the servers is cut without a word, or whose server is frozen: what happens meanwhile reaches the
// clients, each event once and in order. How long they were silent is printed; the goal is ten seconds.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, ensureStream, now, persist, streamInfo } from '../../src/bus/index.ts'
import { serve } from '../../src/service/index.ts'
import { fromStream, sseGateway } from '../../src/sse/index.ts'
import { type Cluster, natsCluster } from '../support/cluster.ts'
import { listen } from '../support/event-stream.ts'
import { until } from '../support/nats.ts'
import { wayTo } from '../support/way.ts'

let cluster: Cluster
beforeAll(async () => {
  cluster = await natsCluster()
})
afterAll(() => cluster?.stop())

/** A gateway on one connection, its client, and a producer on another connection that never stops. */
async function world(name: string, gatewayServers: string[], producerServers: string[]) {
  const producer = await connect({ servers: producerServers })
  await ensureStream(producer, { name, subjects: [`${name}.*`] })
  const bus = await connect({ servers: gatewayServers })
  const unit = await serve(bus, sseGateway({ streams: { seen: fromStream(name) } }), { config: { port: 0 } as never })
  const client = listen(`http://127.0.0.1:${unit.stats!().port}/streams/seen`)
  await until(() => client.state.text.includes('event: position'))
  let stopped = false
  let stored = 0
  const producing = (async () => {
    for (; !stopped; await new Promise((resolve) => setTimeout(resolve, 50))) {
      const data = Buffer.from(JSON.stringify({ n: stored }))
      await persist(producer, `${name}.a`, data, {
        deadline: now() + 60_000,
        headerLines: `Nats-Msg-Id:${name}-${stored}\r\n`,
        deduplicated: true,
      })
      stored += 1
    }
  })()
  return {
    bus,
    client,
    /** How long clients got nothing, from a moment on. */
    async silence(): Promise<number> {
      const from = now()
      let last = from
      let longest = 0
      let seen = client.events.length
      while (now() - from < 60_000 && !(now() - from > 8_000 && now() - last < 500)) {
        await new Promise((resolve) => setTimeout(resolve, 20))
        if (client.events.length > seen) {
          longest = Math.max(longest, now() - last)
          last = now()
          seen = client.events.length
        }
      }
      return Math.max(longest, now() - last)
    },
    async end() {
      stopped = true
      await producing
      await until(() => client.events.length === stored, 30_000)
      const reported = client.events.map(({ data }) => JSON.parse(data).n)
      expect(reported).toEqual(Array.from({ length: stored }, (_, i) => i))
      expect(client.state.ended).toBe(false)
      expect((await streamInfo(producer, name))!.state.last_seq).toBe(stored)
      client.close()
      await unit.drain()
      await bus.close()
      await producer.close()
    },
  }
}

describe("a gateway's clients", () => {
  it('get what happens when the way to the server is half-open, and a new one can be dialled', async () => {
    await using way = await wayTo(cluster.urls[0]!)
    const seen = await world('HALF', [way.url], [cluster.urls[1]!])
    await until(() => seen.client.events.length > 20)
    way.cut()
    const silentMs = await seen.silence()
    console.log(`half-open: clients were silent for ${Math.round(silentMs)} ms`)
    await seen.end()
  })

  it('get what happens when their server is frozen and another is there', async () => {
    const bus = await connect({ servers: [cluster.urls[2]!] })
    await ensureStream(bus, { name: 'FROZEN', subjects: ['FROZEN.*'] })
    const leader = await cluster.leaderOf(bus, 'FROZEN')
    await bus.close()
    // the gateway is on a server that leads nothing it needs: what it waits for is its own connection, not an election
    const meta = await cluster.metaLeader()
    const frozen = [0, 1, 2].find((node) => node !== leader && node !== meta)!
    // it learns of the others from this one
    const seen = await world('FROZEN', [cluster.urls[frozen]!], [cluster.urls[leader]!])
    await until(() => seen.client.events.length > 20)
    expect(`nats://${seen.bus.url}`).toBe(cluster.urls[frozen])
    cluster.freeze(frozen)
    const silentMs = await seen.silence()
    expect(`nats://${seen.bus.url}`).not.toBe(cluster.urls[frozen])
    cluster.thaw(frozen)
    console.log(`frozen server: clients were silent for ${Math.round(silentMs)} ms`)
    await seen.end()
  })
})
