// How late the flights of each airport are, hour by hour of their own time; and a rebooking for everyone who waits for
// more than three hours.
import { count, event, job, mean, processor, quantile, share, tumbling } from 'myelin/stream'
import { delays } from '../contracts/delays.ts'
import { flights } from '../contracts/flights.ts'
import { rebooking } from '../contracts/rebooking.ts'

export default processor(
  'delays',
  {
    description: 'Hourly delays per airport, in event time.',
    from: event(flights, 'departed'),
    to: delays,
  },
  (departed) =>
    departed
      .branch(
        (flight) => flight.delay > 180,
        (stranded) => stranded.to(job(rebooking, 'rebook', { id: (flight) => `flight-${flight.id}` })),
      )
      .time((flight) => flight.date, { outOfOrder: '10m' })
      .keyBy((flight) => flight.origin)
      .window(tumbling('1h'), { lateness: '1h', as: 'hour' })
      .aggregate({
        flights: count(),
        mean: mean((flight) => flight.delay),
        p50: quantile(0.5, (flight) => flight.delay),
        p95: quantile(0.95, (flight) => flight.delay),
        late: share((flight) => flight.delay > 15),
      }),
)
