// The flights joined to where they leave from: hour by hour, how it goes in each state.
import { MyelinError } from 'myelin/bus'
import { client } from 'myelin/service'
import { count, enrich, event, mean, processor, share, tumbling } from 'myelin/stream'
import { airports } from '../contracts/airports.ts'
import { states } from '../contracts/delays.ts'
import { flights } from '../contracts/flights.ts'

/** Each flight with its origin's state, asked of the airports service once per airport and hour. */
const located = enrich(
  event(flights, 'departed'),
  async ({ origin }, { bus }) => {
    try {
      return (await client(bus, airports, { caller: 'states' }).get({ iata: origin })).state
    } catch (error) {
      if (error instanceof MyelinError && error.code === 'UNKNOWN') return 'unknown'
      throw error
    }
  },
  ({ date, delay }, state) => ({ date, delay, state }),
  { cache: { key: ({ origin }) => origin, forMs: 3_600_000 } },
)

export default processor(
  'states',
  {
    description: 'Hourly delays per state: flights joined to their airports.',
    from: located,
    to: states,
  },
  (departed) =>
    departed
      .time((flight) => flight.date, { outOfOrder: '10m' })
      .keyBy((flight) => flight.state)
      .window(tumbling('1h'), { lateness: '1h', as: 'hour' })
      .aggregate({
        flights: count(),
        mean: mean((flight) => flight.delay),
        late: share((flight) => flight.delay > 15),
      }),
)
