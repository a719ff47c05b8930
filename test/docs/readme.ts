// What the blocks of the README leave out.
import { contract, stream } from 'myelin/contract'
import { z } from 'zod'

export { flights } from '../../examples/airline/contracts/flights.ts'
export const Iata = z.string()
export const Airport = z.object({ iata: Iata, name: z.string() })
export const Closure = z.object({ iata: Iata, until: z.string() })
export const Reroute = z.object({ flight: z.number() })
export const until = '2001-07-01T12:00:00Z'
export declare function loadAirports(
  file: string,
): Map<string, z.infer<typeof Airport>> & { matching(text: string): z.infer<typeof Airport>[] }

// as the README's first block says it
export const airports = contract('airports', {
  version: '1.2.0',
  endpoints: {
    get: { in: z.object({ iata: Iata }), out: Airport, errors: { UNKNOWN: z.object({ iata: Iata }) } },
    search: { in: z.object({ text: z.string() }), out: stream(Airport) },
  },
  events: { closed: { payload: Closure, key: 'iata', durable: { maxAge: '7d' } } },
  jobs: { reroute: { payload: Reroute, attempts: 5, backoff: { from: '1s', to: '1m' } } },
})
