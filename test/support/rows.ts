import { type Bus, readSpan } from '../../src/bus/index.ts'
import { viewStream } from '../../src/stream/index.ts'

/** All rows of a view, in its order. */
export async function rowsOf(bus: Bus, view: string): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = []
  for await (const { data } of readSpan(bus, viewStream(view))) rows.push(JSON.parse(Buffer.from(data).toString()))
  return rows
}
