// Airports whose last hour is unusual: its mean delay lies far above what the airport's last week was like.
import { count, last, mean, processor, rowsOf, sliding, stddev } from 'myelin/stream'
import { delays, unusual } from '../contracts/delays.ts'

const least = { hours: 24, flights: 5, deviations: 3 }

export default processor(
  'unusual',
  {
    description: "Hours whose delay is three standard deviations above the airport's last week.",
    from: rowsOf(delays),
    to: unusual,
  },
  (hours) =>
    hours
      .time((row) => row.hour, { outOfOrder: '2h' })
      .keyBy((row) => row.origin)
      .window(sliding('7d'), { as: 'since' })
      .aggregate({
        last: last((row) => row),
        hours: count(),
        usual: mean((row) => row.mean),
        deviation: stddev((row) => row.mean),
      })
      .filter(
        ({ last, hours, usual, deviation }) =>
          hours >= least.hours && last.flights >= least.flights && last.mean > usual + least.deviations * deviation,
      )
      .map(({ last, hours, usual, deviation }) => ({
        hour: last.hour,
        flights: last.flights,
        mean: last.mean,
        usual,
        deviation,
        hours,
      })),
)
