// Rebooking: passengers of badly delayed flights are put on other ones, one job per flight.
import { contract } from 'myelin/contract'
import { z } from 'zod'
import { Flight } from './flights.ts'

export const Rebooked = z.object({
  flight: Flight,
  /** Airports close to the origin that could take the passengers. */
  alternatives: z.array(z.string()),
})
export type Rebooked = z.infer<typeof Rebooked>

export const rebooking = contract('rebooking', {
  version: '1.0.0',
  description: 'Finds other ways for the passengers of flights that are over three hours late.',
  jobs: {
    rebook: { payload: Flight, attempts: 5, backoff: { from: '200ms', to: '10s' }, concurrency: 32, lease: '30s' },
  },
  events: {
    done: {
      description:
        'The passengers of a flight were rebooked. The newest are kept; the position is how many there were.',
      payload: Rebooked,
      durable: { maxMessages: 1_000, discard: 'old' },
    },
  },
})
