// All flights of the year through partitions whose instances come, leave and are killed −9 while it streams: the view is
// DuckDB's answer, every window once.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, embeddedNats, streamInfo } from 'myelin/bus'
import { inspectProcessor, view, viewStream } from 'myelin/stream'
import { serve } from 'myelin/unit'
import { expect, it } from 'vitest'
import { DelayHour } from '../../examples/airline/contracts/delays.ts'
import { expectSameAsDuckDB } from '../../examples/airline/same-as-duckdb.ts'
import { flightsFile } from '../../examples/airline/units/data.ts'
import feed from '../../examples/airline/units/flights-feed.ts'
import { until } from '../support/nats.ts'

const kills = Number(process.env.MYELIN_CHAOS_KILLS ?? 50)
const limit = Number(process.env.MYELIN_CHAOS_FLIGHTS ?? 3_000_000)
const fixtures = join(import.meta.dirname, '../fixtures')

it(`${kills} instances killed -9 while ${limit} flights stream: same rows as DuckDB's, each once`, {
  timeout: 1_800_000,
}, async () => {
  const storeDir = await mkdtemp(join(tmpdir(), 'myelin-chaos-'))
  const server = await embeddedNats({ storeDir })
  const bus = await connect({ servers: server.url })
  const instances = new Set<ChildProcess>()
  const start = async () => {
    const child = fork(join(fixtures, 'serve-unit.ts'), [server.url, join(fixtures, 'units/hourly-parts.ts')], {
      execArgv: ['--conditions=myelin-source'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    instances.add(child)
    void once(child, 'exit').then(() => instances.delete(child))
    await Promise.race([once(child, 'message'), once(child, 'exit')]) // one that cannot start now is not missed
  }
  try {
    const feeding = await serve(bus, feed, { config: { file: flightsFile, speed: 'max', limit } })
    await start()
    let killed = 0
    let left = 0
    while (killed < kills) {
      await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 1_500))
      const list = [...instances]
      const victim = list[Math.floor(Math.random() * list.length)]
      const dice = Math.random()
      if (list.length < 4 && dice < 0.4) await start()
      else if (victim && dice < 0.9) {
        victim.kill('SIGKILL')
        killed += 1
      } else if (victim) {
        victim.kill('SIGTERM')
        left += 1
      }
      if (instances.size === 0) await start()
    }
    await feeding.done
    const ended = async () => {
      if (instances.size === 0) await start() // the last one may have been told to leave
      const found = await inspectProcessor(bus, 'parts')
      const partitions = found.flatMap((one) => one.partitions)
      return partitions.length === 6 && partitions.every((one) => one.ended)
    }
    await until(ended, 900_000)
    const parts = Array.from({ length: 6 }, (_, i) => viewStream('parts', i))
    const written = async (stream: string) => (await streamInfo(bus, stream))!.state.last_seq
    const total = (await Promise.all(parts.map(written))).reduce((sum, rows) => sum + rows, 0)
    await until(async () => (await written('VIEW_parts')) === total, 60_000)
    const rows = await expectSameAsDuckDB(bus, limit, view('parts', { key: 'origin', row: DelayHour }))
    console.log(`${killed} killed, ${left} left by themselves; ${rows} windows, each once and as DuckDB's`)
    expect(killed).toBe(kills)
    await feeding.drain()
  } finally {
    for (const child of instances) child.kill('SIGKILL')
    await bus.close()
    await server.stop()
    await rm(storeDir, { recursive: true, force: true })
  }
})
