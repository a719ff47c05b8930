// Types flow from one contract to its client, service and handlers, and what cannot work does not compile; checked by
// tsc, run by nobody.
import { z } from 'zod'
import type { Bus, Persisted } from '../bus/internal.ts'
import { contract, stream } from '../contract/internal.ts'
import { client, type HandlerContext, on, service } from './index.ts'

const version = '1.0.0'
const Airport = z.object({ iata: z.string(), city: z.string(), opened: z.coerce.date() })
const numbered = z.object({ n: z.number(), city: z.string() })

const airports = contract('airports', {
  version,
  endpoints: {
    get: { in: z.object({ iata: z.string() }), out: Airport, errors: { UNKNOWN: z.object({ iata: z.string() }) } },
    search: { in: z.object({ text: z.string() }), out: stream(Airport) },
  },
  events: {
    core: { payload: numbered },
    kept: { payload: numbered, durable: { maxAge: '1h' } },
    city: { payload: numbered, key: 'city', durable: true },
    coreCity: { payload: numbered, key: 'city' },
  },
  jobs: { reroute: { payload: z.object({ flight: z.number() }) } },
})
const listens = contract('listens', { version })

// -- the client ------------------------------------------------------------------------------------------------------

declare const bus: Bus
const api = client(bus, airports)

export async function calls() {
  const airport = await api.get({ iata: 'ATL' })
  airport.opened satisfies Date
  // @ts-expect-error a field that it has not
  airport.runways
  // @ts-expect-error another type
  await api.get({ iata: 17 })
  // @ts-expect-error no such endpoint
  await api.got({ iata: 'ATL' })
  const found = await api.get.try({ iata: 'XXX' })
  if (!found.ok) found.error.data.iata satisfies string
  if (!found.ok) found.error.code satisfies 'UNKNOWN'
  for await (const hit of api.search({ text: 'san' })) hit.city satisfies string
  // @ts-expect-error a streamed reply is no promise
  api.search.try({ text: 'san' })
  await api.reroute.enqueue({ flight: 17 })
  // @ts-expect-error another type
  await api.reroute.enqueue({ flight: '17' })
  const stored: Persisted = await api.kept.publish({ n: 1, city: 'ATL' })
  // @ts-expect-error an event that is not durable is stored nowhere
  const nowhere: Persisted = await api.core.publish({ n: 1, city: 'ATL' })
  return [stored, nowhere]
}

export function subscriptions() {
  api.kept.subscribe({ group: 'crew', from: 'start', leaseMs: 1_000, onGap: () => undefined, maxPending: 5 })
  api.city.subscribe({ key: 'ATL', from: { sequence: 4 } })
  api.coreCity.subscribe({ key: 'ATL', group: 'crew', maxPending: 5 }) // members of a group share, also what is not kept
  // @ts-expect-error nothing is kept that could be replayed
  api.core.subscribe({ from: 'start' })
  // @ts-expect-error nothing is delivered again
  api.core.subscribe({ group: 'crew', leaseMs: 1_000 })
  // @ts-expect-error there is no stream that could have a gap
  api.coreCity.subscribe({ onGap: () => undefined })
  // @ts-expect-error it has no key
  api.core.subscribe({ key: 'ATL' })
  // @ts-expect-error it has no key
  api.kept.subscribe({ key: 'ATL' })
  // @ts-expect-error nor in options that were made before
  api.core.subscribe(options)
}
const options = { from: 'start' } as const

// -- the service -----------------------------------------------------------------------------------------------------

const loaded = (file: string) => new Map([[file, { iata: 'ATL', city: 'Atlanta', opened: '1926-09-15' }]])

export const typed = service(airports, {
  config: z.object({ file: z.string() }),
  setup: ({ config }) => loaded(config.file),
  health: { loaded: ({ state }) => state.size > 0 || 'empty' },
  on: [
    (on) =>
      on(airports, 'kept', { from: 'start', attempts: 3 }, async ({ n }, { state, config, log }) => {
        n satisfies number
        state.size satisfies number
        config.file satisfies string
        log.info('seen')
        // @ts-expect-error the state has no such member
        state.closed
        // @ts-expect-error the configuration has no such field
        config.port
      }),
    (on) => on(airports, 'core', {}, (_, { state }) => void state.clear()),
  ],
  get: ({ iata }, { state, fail }) => state.get(iata) ?? fail('UNKNOWN', { iata }),
  async *search({ text }, { state }) {
    for (const airport of state.values()) if (airport.city.includes(text)) yield airport
  },
  reroute: async ({ flight }, { attempt }) => {
    flight satisfies number
    attempt satisfies number
  },
})

export const parts = {
  // the state that a handler names is the one that the service has
  fits: service(listens, {
    setup: () => new Map<string, number>(),
    on: [on(airports, 'kept', {}, (_, context: HandlerContext<Map<string, number>>) => void context.state.size)],
  }),
  // in a list they say of what type it is
  differs: service(listens, {
    setup: () => new Map<string, number>(),
    // @ts-expect-error the service's state is a map
    on: [on(airports, 'kept', {}, (_, context: HandlerContext<Set<string>>) => void context.state.size)],
  }),
  none: service(listens, {
    // @ts-expect-error the service has no state
    on: [on(airports, 'kept', {}, (_, context: HandlerContext<Set<string>>) => void context.state.size)],
  }),
  configured: service(listens, {
    config: z.object({ file: z.string() }),
    // @ts-expect-error the configuration has a file and no port
    on: [on(airports, 'kept', {}, (_, context: HandlerContext<undefined, { port: number }>) => void context.config)],
  }),
  reply: service(contract('one', { version, endpoints: { get: { in: z.string(), out: z.number() } } }), {
    // @ts-expect-error the reply is a number
    get: (text) => text,
  }),
  missing: service(
    contract('two', { version, endpoints: { get: { in: z.string(), out: z.number() } } }),
    // @ts-expect-error it has no handler
    {},
  ),
  undeclared: service(
    contract('three', { version, endpoints: { get: { in: z.string(), out: z.number() } } }),
    // @ts-expect-error the contract declares no errors
    { get: (_, { fail }) => fail('UNKNOWN', {}) },
  ),
}

// -- events that a service listens to --------------------------------------------------------------------------------

const ignore = () => undefined
export const listeners = [
  on(airports, 'kept', { group: 'crew', from: 'start', attempts: 3, lease: '1m', concurrency: 2 }, ignore),
  on(airports, 'kept', { group: false }, ignore),
  on(airports, 'city', { key: 'ATL', from: 'new' }, ignore),
  on(airports, 'coreCity', { key: 'ATL', group: false }, ignore),
  on(airports, 'core', { group: 'crew' }, ignore),
  // @ts-expect-error no such event
  on(airports, 'gone', {}, ignore),
  // @ts-expect-error nothing is kept that could be replayed
  on(airports, 'core', { from: 'start' }, ignore),
  // @ts-expect-error nothing is tried again
  on(airports, 'core', { attempts: 3 }, ignore),
  // @ts-expect-error nor later
  on(airports, 'core', { backoff: { from: 1, to: 2 } }, ignore),
  // @ts-expect-error it has no key
  on(airports, 'kept', { key: 'ATL' }, ignore),
  // @ts-expect-error what every instance gets as it comes is not replayed
  on(airports, 'kept', { group: false, from: 'start' }, ignore),
  // @ts-expect-error nor tried again
  on(airports, 'kept', { group: false, attempts: 3 }, ignore),
  // @ts-expect-error another payload
  on(airports, 'kept', {}, (payload: { n: string }) => void payload.n),
]
