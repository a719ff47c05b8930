// The sums of the hourly delays as one writes them by hand on the client library: an ordered consumer, JSON.parse, a Map.
// No schema is checked, nothing is stored, a crash begins anew.
import { jetstream } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'

interface Hour {
  flights: number
  total: number
  late: number
  delays: number[]
}

const quantile = (sorted: Float64Array, q: number) => {
  const rank = (sorted.length - 1) * q
  const low = Math.floor(rank)
  return sorted[low]! * (1 - (rank - low)) + sorted[Math.ceil(rank)]! * (rank - low)
}

export async function hourly(url: string) {
  const nats = await connect({ servers: url })
  return async ({ events }: { events: number }) => {
    const began = performance.now()
    const hours = new Map<string, Hour>()
    const consumer = await jetstream(nats).consumers.get('EVT_flights_departed')
    let read = 0
    const done = Promise.withResolvers<void>()
    const messages = await consumer.consume({
      max_messages: 5_000,
      callback: ({ data }) => {
        read += 1
        if (data.length > 0) {
          const flight = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString())
          const key = `${flight.origin} ${Math.floor(Date.parse(flight.date) / 3_600_000)}`
          let hour = hours.get(key)
          if (!hour) {
            hour = { flights: 0, total: 0, late: 0, delays: [] }
            hours.set(key, hour)
          }
          hour.flights += 1
          hour.total += flight.delay
          if (flight.delay > 15) hour.late += 1
          hour.delays.push(flight.delay)
        }
        if (read >= events) done.resolve()
      },
    })
    await done.promise
    messages.stop()
    let rows = 0
    for (const { flights, total, late, delays } of hours.values()) {
      const sorted = Float64Array.from(delays).sort()
      const row = {
        flights,
        mean: total / flights,
        p50: quantile(sorted, 0.5),
        p95: quantile(sorted, 0.95),
        late: late / flights,
      }
      if (row.flights > 0) rows += 1
    }
    return { ms: performance.now() - began, rows }
  }
}
