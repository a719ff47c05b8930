// The main job whole: every (airport, hour) of 3,000,000 real flights, through feed → JetStream → windows, is what DuckDB
// says of the same file, and every badly delayed flight has been rebooked, each once.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, embeddedNats, streamInfo } from 'myelin/bus'
import { loadComposition, up } from 'myelin/runtime'
import { createLogger } from 'myelin/unit'
import { expect, it } from 'vitest'
import { expectSameAsDuckDB } from '../../examples/airline/same-as-duckdb.ts'
import { until } from '../support/nats.ts'

it('the airline gives for all 3,000,000 flights the windows that DuckDB gives', { timeout: 600_000 }, async () => {
  const storeDir = await mkdtemp(join(tmpdir(), 'myelin-airline-'))
  const server = await embeddedNats({ storeDir, memoryLimitBytes: 300 * 1024 ** 2 })
  const bus = await connect({ servers: server.url })
  try {
    await using running = await up(bus, await loadComposition(join(import.meta.dirname, '../../examples/airline')), {
      only: ['airports', 'rebooking', 'delays', 'feed'],
      config: { feed: { speed: 'max' } },
      log: createLogger(),
    })
    await Promise.all([running.finished('feed'), running.finished('delays')])
    expect(await expectSameAsDuckDB(bus, 3_000_000)).toBe(424_259)
    await until(async () => (await streamInfo(bus, 'JOB_rebooking_rebook'))!.state.messages === 0, 60_000)
    expect((await streamInfo(bus, 'JOB_rebooking_rebook'))!.state.last_seq).toBe(14_162)
    await until(() => running.status().find(({ unit }) => unit === 'rebooking')!.stats.jobsDone === 14_162)
  } finally {
    await bus.close()
    await server.stop()
    await rm(storeDir, { recursive: true, force: true })
  }
})
