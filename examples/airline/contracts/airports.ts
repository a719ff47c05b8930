// What the airports service offers.
import { contract, stream } from 'myelin/contract'
import { z } from 'zod'
import { Iata } from './flights.ts'

export const Airport = z.object({
  iata: z.string(),
  name: z.string(),
  city: z.string(),
  state: z.string(),
  latitude: z.number(),
  longitude: z.number(),
})
export type Airport = z.infer<typeof Airport>

export const Closure = z.object({ iata: Iata, reason: z.string().default(''), until: z.iso.datetime() })

export const airports = contract('airports', {
  version: '1.0.0',
  description: 'Airports of the United States: where they are, and which are near.',
  endpoints: {
    get: {
      description: 'One airport by its IATA code.',
      in: z.object({ iata: Iata }),
      out: Airport,
      errors: { UNKNOWN: z.object({ iata: z.string() }) },
      idempotent: true,
      timeoutMs: 1_000,
    },
    nearest: {
      description: 'The airports closest to one, by great-circle distance in kilometres, itself left out.',
      in: z.object({
        iata: Iata,
        count: z.number().int().min(1).max(50).default(5),
        among: z.array(Iata).max(1_000).optional(),
      }),
      out: z.array(Airport.extend({ km: z.number() })),
      errors: { UNKNOWN: z.object({ iata: z.string() }) },
      idempotent: true,
      timeoutMs: 1_000,
    },
    search: {
      description: 'Every airport whose code, name, city or state holds the text, best first.',
      in: z.object({ text: z.string().min(1).max(100) }),
      out: stream(Airport),
      idempotent: true,
    },
  },
  events: {
    closed: { description: 'An airport closed for a while.', payload: Closure, key: 'iata', durable: { maxAge: '7d' } },
  },
})
