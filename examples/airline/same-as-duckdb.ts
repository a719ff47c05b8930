// For tests: the hourly delays as DuckDB computes them from the same file.
import { DuckDBInstance } from '@duckdb/node-api'
import type { Bus } from 'myelin/bus'
import { readView, type View } from 'myelin/stream'
import { expect } from 'vitest'
import { type DelayHour, delays } from './contracts/delays.ts'
import { flightsFile } from './units/data.ts'

/** The answer to compare with, in the view's own words. */
async function expectedRows(limit: number): Promise<Map<string, string>> {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  const result = await connection.runAndReadAll(`
    select origin, strftime(date_trunc('hour', date), '%Y-%m-%dT%H:%M:%SZ') as hour, count(*)::integer as flights,
      avg(delay) as mean, quantile_cont(delay, 0.5) as p50, quantile_cont(delay, 0.95) as p95,
      avg((delay > 15)::integer) as late
    from (select * from read_parquet('${flightsFile}', file_row_number = true) where file_row_number < ${limit})
    group by 1, 2`)
  const rows = new Map<string, string>()
  for (const row of result.getRowObjects()) {
    rows.set(`${row.origin} ${row.hour}`, JSON.stringify([row.flights, row.mean, row.p50, row.p95, row.late]))
  }
  connection.closeSync()
  instance.closeSync()
  return rows
}

/** Compares the whole view with DuckDB's answer: same windows, each once, same numbers to the last digit. */
export async function expectSameAsDuckDB(bus: Bus, limit: number, view: View<DelayHour> = delays): Promise<number> {
  const expected = await expectedRows(limit)
  const wrong: string[] = []
  const total = expected.size
  for await (const { row } of readView(bus, view).history({ maxPending: 5_000 })) {
    const window = `${row.origin} ${row.hour}`
    const found = JSON.stringify([row.flights, row.mean, row.p50, row.p95, row.late])
    if (expected.get(window) !== found) wrong.push(`${window}: ${found}, expected ${expected.get(window)}`)
    expected.delete(window) // a window that comes out again is wrong as well
  }
  expect(wrong.slice(0, 5)).toEqual([])
  expect([...expected.keys()].slice(0, 5)).toEqual([])
  return total
}
