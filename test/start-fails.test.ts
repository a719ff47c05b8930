// A start that fails undoes what it did. Each kind of unit is started again and again on a connection whose first,
// second, … operation fails, until it starts; after each failure the server itself is asked what is left.
import { createServer } from 'node:net'
import { beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Bus } from '../src/bus/index.ts'
import { contract } from '../src/contract/index.ts'
import { controller } from '../src/control/index.ts'
import { ensureBeats } from '../src/heartbeat/beats-stream.ts'
import { fleet, serveHealth } from '../src/heartbeat/index.ts'
import { builtInUnit, parseComposition, up } from '../src/runtime/index.ts'
import { client, on, service } from '../src/service/index.ts'
import { fromEvent, fromView, sseGateway } from '../src/sse/index.ts'
import { count, event, processor, tumbling, view } from '../src/stream/index.ts'
import { createLogger, defineUnit, type RunningUnit, serve, type Unit } from '../src/unit/index.ts'
import { codeOf, until, withNats } from './support/nats.ts'

const nats = withNats({ monitorPort: 0 })
const log = createLogger()

const orders = contract('orders', {
  version: '1.0.0',
  endpoints: { get: { in: z.object({}), out: z.number() } },
  jobs: { pack: { payload: z.object({}) } },
  events: {
    placed: { payload: z.object({ at: z.string(), shop: z.string() }), key: 'shop', durable: {} },
    seen: { payload: z.object({}) },
  },
})
const perHour = view('per_hour', { key: 'shop' })
const hourly = processor('hourly', { from: event(orders, 'placed'), to: perHour }, (placed) =>
  placed
    .time(({ at }) => at)
    .keyBy(({ shop }) => shop)
    .window(tumbling('1h'))
    .aggregate({ orders: count() }),
)

interface Connz {
  readonly connections: { readonly name: string; readonly subscriptions_list?: string[] }[]
}
/** What the server knows that a connection listens to, apart from the replies to its own requests. */
async function subscriptions(name: string): Promise<string[]> {
  const { connections } = (await (await fetch(`${nats.server.monitorUrl}/connz?subs=1&limit=2000`)).json()) as Connz
  const subjects = connections.filter((one) => one.name === name).flatMap((one) => one.subscriptions_list ?? [])
  return subjects.filter((subject) => !/^_INBOX\..*\*$/.test(subject)).sort()
}

/** Makes the operation of a number fail: subscribing, flushing, asking the server or JetStream. */
function breakAt(bus: Bus, number: number): { readonly used: number; over: boolean } {
  const reported = { used: 0, over: false }
  const breaking = (object: object, name: string) => {
    const real = (object as Record<string, (...args: unknown[]) => unknown>)[name]!
    Object.assign(object, {
      [name]: (...args: unknown[]) => {
        if (reported.over) return real.apply(object, args)
        reported.used += 1
        if (reported.used !== number) return real.apply(object, args)
        const error = new Error(`operation ${number} fails`)
        if (name === 'subscribe') throw error
        return Promise.reject(error)
      },
    })
  }
  breaking(bus, 'subscribe')
  breaking(bus, 'flush')
  breaking(bus.nats, 'request')
  return reported
}

/** Starts until it works. Resolves with how many operations failed on the way. */
async function startThroughFailures(unit: Unit<never>, config: unknown = {}): Promise<number> {
  let failures = 0
  for (let number = 1; number < 200; number++) {
    const name = `starting-${crypto.randomUUID()}`
    const bus = await nats.connect({ name })
    const broken = breakAt(bus, number)
    let running: (RunningUnit & AsyncDisposable) | undefined
    try {
      running = await serve(bus, unit as Unit, { config, log })
      broken.over = true
    } catch {
      failures += 1
      await bus.flush()
      expect(await subscriptions(name), `after operation ${number} failed`).toEqual([])
    }
    await running?.drain()
    if (running) await until(async () => (await subscriptions(name)).length === 0)
    await bus.close()
    if (running && broken.used < number) return failures
  }
  throw new Error('it never started')
}

// watchers of the fleet need not wait for a first beat then
beforeAll(() => ensureBeats(nats.bus))

describe('a start that fails', () => {
  it('of a service leaves no endpoint, worker or listener, and disposes each state once', async () => {
    const states: { disposed: number }[] = []
    const made = service(orders, {
      setup: () => {
        const state = { disposed: 0 }
        states.push(state)
        return state
      },
      dispose: (state) => {
        state.disposed += 1
      },
      on: [on(orders, 'placed', {}, () => undefined), on(orders, 'seen', {}, () => undefined)],
      get: () => 1,
      pack: () => undefined,
    })
    expect(await startThroughFailures(made as Unit<never>)).toBeGreaterThan(10)
    expect(states.length).toBeGreaterThan(10)
    expect(states.filter(({ disposed }) => disposed !== 1)).toEqual([])
    expect(await codeOf(client(nats.bus, orders).get({}, { timeoutMs: 1_000 }))).toBe('NO_RESPONDERS')
  })

  it('of a service disposes its state also when something that is closed before it cannot be', async () => {
    let disposed = 0
    const made = service(contract('odd', { version: '1.0.0', endpoints: orders.definition.endpoints }), {
      setup: () => ({ [Symbol.asyncDispose]: async () => void disposed++ }),
      get: () => 1,
    })
    const bus = await nats.connect()
    bus.subscribe = (
      (real) =>
      (subject: string, ...rest: [never]) => {
        const subscription = real.call(bus, subject, ...rest)
        return { ...subscription, drain: () => Promise.reject(new Error('cannot')) }
      }
    )(bus.subscribe)
    bus.flush = () => Promise.reject(new Error('the server is gone'))
    await expect(serve(bus, made, { log })).rejects.toThrow('the server is gone')
    expect(disposed).toBe(1)
  })

  it('of a processor leaves nobody who answers inspections or holds a partition', async () => {
    expect(await startThroughFailures(hourly as Unit<never>)).toBeGreaterThan(5)
    // the partitions of those that failed are free
    await using running = await serve(nats.bus, hourly, { log })
    await until(() => running.stats!().partitions === 1)
  })

  it('of a gateway leaves no topic and no port, and of a declared one neither', async () => {
    const streams = { placed: fromEvent(orders, 'placed'), seen: fromEvent(orders, 'seen') }
    await startThroughFailures(sseGateway({ streams }) as Unit<never>, { port: 0, drainMs: 0 })
    const routes = () => {
      throw new Error('no such page')
    }
    const paged = await nats.connect({ name: 'paged' })
    const starting = serve(paged, sseGateway({ streams, routes }), { config: { port: 0, drainMs: 0 } as never, log })
    await expect(starting).rejects.toThrow('no such page')
    expect(await subscriptions('paged')).toEqual([])
    const declared = await builtInUnit('myelin:sse', 'test')
    const config = { port: 0, drainMs: 0, streams: { hours: { view: 'per_hour' } } }
    expect(await startThroughFailures(declared as Unit<never>, config)).toBeGreaterThan(0)

    const squatter = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => squatter.once('listening', resolve))
    const { port } = squatter.address() as { port: number }
    const name = 'port-taken'
    const bus = await nats.connect({ name })
    const several = sseGateway({ streams: { placed: fromEvent(orders, 'placed'), hours: fromView(perHour) } })
    expect(await codeOf(serve(bus, several, { config: { port, drainMs: 0 } as never, log }))).toBe('PORT_TAKEN')
    expect(await subscriptions(name)).toEqual([])
    squatter.close()
  })

  it('of a controller leaves no candidate for leadership', async () => {
    expect(await startThroughFailures(controller() as Unit<never>)).toBeGreaterThan(3)
    await using leader = await serve(nats.bus, controller(), { log })
    await until(() => leader.stats!().leads === 1)
  })

  it("of a unit of one's own ends the subscriptions that it made and said nothing about", async () => {
    const own = defineUnit({
      kind: 'own',
      name: 'own',
      async start({ bus }) {
        const made = [bus.subscribe('own.a', () => undefined)]
        await bus.flush()
        made.push(bus.subscribe('own.b', () => undefined))
        await bus.flush()
        return { drain: async () => made.forEach((one) => void one.unsubscribe()) }
      },
    })
    expect(await startThroughFailures(own as Unit<never>)).toBe(4)
  })

  it('of a fleet or a health server leaves no subscription', async () => {
    const name = 'watching'
    for (let number = 1; number < 3; number++) {
      const bus = await nats.connect({ name })
      breakAt(bus, number)
      await expect(fleet(bus)).rejects.toThrow(`operation ${number} fails`)
      expect(await subscriptions(name)).toEqual([])
      await bus.close()
    }
    const first = await serveHealth(nats.bus, () => [], { port: 0 })
    expect(await codeOf(serveHealth(nats.bus, () => [], { port: first.port }))).toBe('PORT_TAKEN')
    await first.close()
    await first.close()
  })

  it('in a composition leaves neither the unit nor its neighbours, however often it is started again', async () => {
    const name = 'composed'
    const bus = await nats.connect({ name })
    const states: { disposed: number }[] = []
    const half = service(contract('half', { version: '1.0.0', endpoints: orders.definition.endpoints }), {
      setup: () => {
        const state = { disposed: 0, [Symbol.asyncDispose]: async () => void state.disposed++ }
        states.push(state)
        return state
      },
      on: [on(orders, 'placed', { group: 'a group with blanks' }, () => undefined)],
      get: () => 1,
    })
    const composition = parseComposition({ name: 'test', units: { half: { use: half }, hourly: { use: hourly } } }, 'x')
    for (let i = 0; i < 2; i++) {
      const running = up(bus, { composition, file: 'x', folder: '.' }, { log, httpPort: 0, beatMs: 0 })
      expect(await codeOf(running)).not.toBe('none')
      expect(await subscriptions(name)).toEqual([])
    }
    expect(states.map(({ disposed }) => disposed)).toEqual([1, 1])
  })
})
