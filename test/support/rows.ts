import { type Bus, readStream, streamInfo } from '../../src/bus/index.ts'
import { viewStream } from '../../src/stream/index.ts'

/** All rows of a view, in its order. */
export async function rowsOf(bus: Bus, view: string): Promise<Record<string, unknown>[]> {
  const end = (await streamInfo(bus, viewStream(view)))?.state.last_seq ?? 0
  const rows: Record<string, unknown>[] = []
  if (end === 0) return rows
  const done = Promise.withResolvers<void>()
  const reader = await readStream(bus, {
    stream: viewStream(view),
    onMessage: (message) => {
      rows.push(JSON.parse(Buffer.from(message.data).toString()))
      reader.release()
      if (message.sequence >= end) done.resolve()
    },
  })
  await done.promise
  await reader.stop()
  return rows
}
