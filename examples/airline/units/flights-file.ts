// Reads the flights of 2001 from Parquet, in the order of the file, which is the order of their departures. DuckDB
// streams it in chunks of 2,048 rows: the whole file is 3,000,000 flights, and a part of a megabyte is in memory.
import { DuckDBInstance } from '@duckdb/node-api'
import type { Flight } from '../contracts/flights.ts'

export interface FlightsFile extends AsyncDisposable {
  readonly total: number
  /** Flights from a row on, in chunks. */
  read(fromRow: number): AsyncGenerator<Flight[]>
  close(): Promise<void>
}

export async function openFlights(file: string, limit = Number.POSITIVE_INFINITY): Promise<FlightsFile> {
  // one thread and little memory: reading is not what limits, and the order must stay
  const instance = await DuckDBInstance.create(':memory:', { threads: '1', memory_limit: '32MB' })
  const connection = await instance.connect()
  const quoted = `'${file.replaceAll("'", "''")}'`
  const counted = await connection.runAndReadAll(`select count(*)::integer from read_parquet(${quoted})`)
  const total = Math.min(limit, Number(counted.getRows()[0]![0]))

  async function* read(fromRow: number): AsyncGenerator<Flight[]> {
    const result = await connection.stream(
      `select file_row_number::integer, strftime(date, '%Y-%m-%dT%H:%M:%SZ'), delay::integer, distance::integer, origin, destination
       from read_parquet(${quoted}, file_row_number = true) where file_row_number >= ${fromRow} and file_row_number < ${total}`,
    )
    for (;;) {
      const chunk = await result.fetchChunk()
      if (!chunk || chunk.rowCount === 0) return
      const [id, date, delay, distance, origin, destination] = chunk.getColumns() as [
        number[],
        string[],
        number[],
        number[],
        string[],
        string[],
      ]
      const flights: Flight[] = []
      for (let i = 0; i < id.length; i++) {
        flights.push({
          id: id[i]!,
          date: date[i]!,
          delay: delay[i]!,
          distance: distance[i]!,
          origin: origin[i]!,
          destination: destination[i]!,
        })
      }
      yield flights
    }
  }

  const close = async () => {
    connection.closeSync()
    instance.closeSync()
  }
  return { total, read, close, [Symbol.asyncDispose]: close }
}
