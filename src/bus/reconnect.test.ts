// Every test has a server of its own, to kill it.
import { describe, expect, it } from 'vitest'
import { codeOf, until } from '../../test/support/nats.ts'
import { type BusEvent, connect, embeddedNats } from './internal.ts'

const bytes = (text: string) => Buffer.from(text)

/** Resolves with the next event of this type. */
const next = (bus: Awaited<ReturnType<typeof connect>>, type: BusEvent['type']) =>
  new Promise<BusEvent>((resolve) => {
    const stop = bus.on((event) => {
      if (event.type !== type) return
      stop()
      resolve(event)
    })
  })

describe('when the server is killed', () => {
  it('calls under way fail as retriable, subscriptions are resumed, and events tell of it', async () => {
    await using server = await embeddedNats()
    await using bus = await connect({ servers: server.url })
    await using other = await connect({ servers: server.url })
    const events: string[] = []
    bus.on(({ type }) => events.push(type))
    const seen: string[] = []
    bus.subscribe('resumed', (message) => seen.push(message.string()))
    const arrived = new Promise<void>((resolve) => void bus.subscribe('silent', () => resolve()))
    await bus.flush()
    const call = bus.request('silent', bytes('x'), { deadline: Date.now() + 60_000 }).catch((error) => error)
    await arrived
    const back = Promise.all([next(bus, 'reconnected'), next(other, 'reconnected')])
    process.kill(server.pid, 'SIGKILL')
    expect(await call).toMatchObject({ code: 'DISCONNECTED', retriable: true })
    expect(bus.connected).toBe(false)
    await back
    expect(bus.connected).toBe(true)
    await bus.flush()
    other.publish('resumed', bytes('again'))
    await until(() => seen.length > 0)
    expect(seen).toEqual(['again'])
    expect(events.filter((type) => type !== 'reconnecting')).toEqual(['disconnected', 'reconnected'])
    expect(events).toContain('reconnecting')
  })

  it('what is published meanwhile is kept in order up to maxPendingBytes, and refused beyond', async () => {
    await using server = await embeddedNats()
    await using bus = await connect({ servers: server.url, maxPendingBytes: 1_000 })
    const seen: string[] = []
    bus.subscribe('kept', (message) => seen.push(message.string()))
    bus.subscribe('echo', (message) => message.respond(message.data))
    await bus.flush()
    const [down, back] = [next(bus, 'disconnected'), next(bus, 'reconnected')]
    process.kill(server.pid, 'SIGKILL')
    await down
    const sent = Array.from({ length: 8 }, (_, i) => String(i).repeat(100))
    for (const text of sent) bus.publish('kept', bytes(text))
    const call = bus.request('echo', bytes('held'), { deadline: Date.now() + 15_000 })
    const late = codeOf(bus.request('echo', bytes('late'), { deadline: Date.now() + 1 }))
    expect(() => bus.publish('kept', Buffer.alloc(300))).toThrow(expect.objectContaining({ code: 'OVERLOADED' }))
    expect(await codeOf(bus.request('kept', Buffer.alloc(300)))).toBe('OVERLOADED')
    expect(await late).toBe('DEADLINE_EXCEEDED')
    await back
    expect((await call).string()).toBe('held')
    await until(() => seen.length === sent.length)
    expect(seen).toEqual(sent)
    bus.publish('kept', Buffer.alloc(900))
    await until(() => seen.length === sent.length + 1)
  })

  it('a connection can be closed meanwhile, and calls under way end', async () => {
    await using server = await embeddedNats()
    const bus = await connect({ servers: server.url })
    const down = next(bus, 'disconnected')
    await server.stop()
    await down
    const call = codeOf(bus.request('nobody', bytes('x'), { deadline: Date.now() + 60_000 }))
    const waiting = bus.whenConnected()
    await bus.close()
    expect(await call).toBe('CLOSED')
    await waiting
    expect(() => bus.publish('x', bytes('x'))).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  })

  it('flow() lets the publisher wait until the server is back', async () => {
    await using server = await embeddedNats()
    await using bus = await connect({ servers: server.url, maxPendingBytes: 10_000 })
    for (let i = 0; i < 10; i++) bus.publish('x', Buffer.alloc(1_000))
    const [down, back] = [next(bus, 'disconnected'), next(bus, 'reconnected')]
    process.kill(server.pid, 'SIGKILL')
    const flow = bus.flow()
    await down
    await back
    await flow
    expect(bus.congested).toBe(false)
  })
})
