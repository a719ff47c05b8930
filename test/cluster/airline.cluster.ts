// The airline's program on three servers with three replicas, whose nodes are killed -9 in turn while the flights stream:
// every window is DuckDB's, once, every late flight is rebooked, and nothing that was acknowledged is missing.
import { join } from 'node:path'
import { connect, streamInfo } from 'myelin/bus'
import { loadComposition, up } from 'myelin/runtime'
import { createLogger } from 'myelin/unit'
import { expect, it } from 'vitest'
import { expectSameAsDuckDB } from '../../examples/airline/same-as-duckdb.ts'
import { natsCluster } from '../support/cluster.ts'
import { until } from '../support/nats.ts'

const limit = Number(process.env.MYELIN_CLUSTER_FLIGHTS ?? 150_000)
const folder = join(import.meta.dirname, '../../examples/airline')

it('the airline gives the windows that DuckDB gives while each of three nodes is killed -9', {
  timeout: 420_000,
}, async () => {
  await using cluster = await natsCluster()
  const servers = [...cluster.urls]
  await using bus = await connect({ servers })
  const loaded = await loadComposition(folder)
  await using running = await up(bus, loaded, {
    connect: { servers },
    only: ['airports', 'rebooking', 'delays', 'feed'],
    config: { feed: { speed: 500_000, limit } },
    log: createLogger(),
  })
  const stat = (unit: string, key: string) => running.status().find((status) => status.unit === unit)!.stats[key] ?? 0
  for (const [n, node] of [0, 1, 2].entries()) {
    await until(() => stat('delays', 'position') >= (limit * (n + 1)) / 5, 120_000)
    await cluster.kill(node)
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    await cluster.start(node)
    await cluster.settled()
  }
  await until(() => stat('delays', 'ended') === 1, 120_000)
  await cluster.settled()
  const windows = await expectSameAsDuckDB(bus, limit)
  expect((await streamInfo(bus, 'EVT_flights_departed'))!.state.last_seq).toBe(limit + 1)
  const jobs = await streamInfo(bus, 'JOB_rebooking_rebook')
  await until(async () => (await streamInfo(bus, 'JOB_rebooking_rebook'))!.state.messages === 0, 60_000)
  for (const stream of ['EVT_flights_departed', 'VIEW_delays', 'CKPT_delays', 'JOB_rebooking_rebook'])
    expect((await streamInfo(bus, stream))!.config.num_replicas, stream).toBe(3)
  console.log(`${windows} windows, each once and as DuckDB's; ${jobs!.state.last_seq} jobs done`)
})
