// The processors behind the first one: flights joined to airports, and hours that are unusual, against DuckDB.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { type Bus, connect, embeddedNats, now, streamInfo } from 'myelin/bus'
import { loadComposition, up } from 'myelin/runtime'
import { processed, readView, type View, viewStream } from 'myelin/stream'
import { createLogger } from 'myelin/unit'
import { expect, it } from 'vitest'
import { states, unusual } from './contracts/delays.ts'
import { airportsFile, flightsFile } from './units/data.ts'

const limit = 120_000

async function rowsOf<Row>(bus: Bus, view: View<Row>): Promise<Row[]> {
  const rows: Row[] = []
  for await (const { row } of readView(bus, view).history()) rows.push(row)
  return rows
}

async function ask(sql: string): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  const result = await connection.runAndReadAll(`
    with flights as (select * from read_parquet('${flightsFile}', file_row_number = true) where file_row_number < ${limit}),
    airports as (select * from read_csv('${airportsFile}')) ${sql}`)
  const rows = result.getRowObjects()
  connection.closeSync()
  instance.closeSync()
  return rows as Record<string, unknown>[]
}

it('join flights to their airports and find unusual hours as DuckDB does', { timeout: 120_000 }, async () => {
  const storeDir = await mkdtemp(join(tmpdir(), 'myelin-airline-'))
  const server = await embeddedNats({ storeDir })
  const bus = await connect({ servers: server.url })
  try {
    await using running = await up(bus, await loadComposition(import.meta.dirname), {
      only: ['airports', 'states', 'unusual', 'delays', 'feed'],
      config: { feed: { speed: 'max', limit } },
      log: createLogger(),
    })
    await Promise.all(['feed', 'delays', 'states'].map((unit) => running.finished(unit)))
    const byState = await rowsOf(bus, states)
    const reported = byState.map((row) => `${row.state} ${row.hour} ${row.flights} ${row.mean} ${row.late}`)
    const expected = await ask(`
      select coalesce(state, 'unknown') as state, strftime(date_trunc('hour', date), '%Y-%m-%dT%H:%M:%SZ') as hour,
        count(*)::integer as flights, avg(delay) as mean, avg((delay > 15)::integer) as late
      from flights left join airports on origin = iata group by 1, 2`)
    expect(reported.sort()).toEqual(
      expected.map((row) => `${row.state} ${row.hour} ${row.flights} ${row.mean} ${row.late}`).sort(),
    )

    const hours = viewStream('delays')
    const { last_seq: sequence } = (await streamInfo(bus, hours))!.state
    await processed(bus, 'unusual', { stream: hours, sequence }, { deadline: now() + 30_000 })
    const odd = await rowsOf(bus, unusual)
    const found = await ask(`,
      hourly as (select origin, date_trunc('hour', date) as hour, count(*) as flights, avg(delay) as mean from flights group by 1, 2),
      weekly as (select *, avg(mean) over week as usual, stddev_samp(mean) over week as deviation, count(*) over week as hours
        from hourly window week as (partition by origin order by hour
          range between interval '167 hours' preceding and current row))
      select origin, strftime(hour, '%Y-%m-%dT%H:%M:%SZ') as hour, mean from weekly
      where hours >= 24 and flights >= 5 and mean > usual + 3 * deviation`)
    // the last hours wait for their watermark: a view has no end that anybody could tell
    const newest = odd
      .map(({ hour }) => hour)
      .sort()
      .at(-1)!
    const key = (row: Record<string, unknown>) => `${row.origin} ${row.hour} ${row.mean}`
    expect(odd.length).toBeGreaterThan(10)
    expect(odd.map(key).sort()).toEqual(
      found
        .filter(({ hour }) => String(hour) <= newest)
        .map(key)
        .sort(),
    )
  } finally {
    await bus.close()
    await server.stop()
    await rm(storeDir, { recursive: true, force: true })
  }
})
