import { describe, expect, it, vi } from 'vitest'
import { until, withNats } from '../../test/support/nats.ts'
import { wayTo } from '../../test/support/way.ts'
import type { Bus, BusEvent } from './internal.ts'

const nothing = new Uint8Array(0)

function eventsOf(bus: Bus): BusEvent['type'][] {
  const events: BusEvent['type'][] = []
  bus.on(({ type }) => events.push(type))
  return events
}

describe('a connection that reads nothing', () => {
  const nats = withNats()

  it.each([
    ['little is sent', 0],
    ['much more is sent than the other side takes', 40],
  ])('because it is half-open is told, dropped and dialled again, while %s', async (_, chunks) => {
    await using way = await wayTo(nats.server.url)
    const bus = await nats.connect({ servers: way.url, silenceMs: 600 })
    const events = eventsOf(bus)
    const seen: string[] = []
    bus.subscribe('resumed', (message) => seen.push(message.string()))
    await bus.flush()
    way.cut()
    for (let i = 0; i < chunks; i++) bus.publish('lost', Buffer.alloc(500_000))
    await until(() => bus.stale)
    expect(bus.connected).toBe(true)
    expect(bus.silentMs).toBeGreaterThan(0)
    await until(() => events.includes('reconnected'))
    expect(events.filter((type) => type !== 'reconnecting')).toEqual(['stale', 'disconnected', 'reconnected'])
    expect(bus.stale).toBe(false)
    await bus.flush()
    nats.bus.publish('resumed', Buffer.from('again'))
    await until(() => seen.length === 1)
  })

  it('because its reading has ended is told, dropped and dialled again', async () => {
    const printed = vi.spyOn(console, 'log').mockReturnValue()
    const bus = await nats.connect({ silenceMs: 600 })
    const events = eventsOf(bus)
    const seen: string[] = []
    bus.subscribe('resumed.again', (message) => seen.push(message.string()))
    bus.nats.subscribe('past.the.bus', {
      callback: () => {
        throw new Error('a bug')
      },
    })
    await bus.flush()
    bus.publish('past.the.bus', nothing)
    // what others send goes on arriving, and nobody reads it
    const others = setInterval(() => nats.bus.publish('resumed.again', nothing), 20)
    await until(() => events.includes('reconnected'))
    expect(events).toContain('stale')
    const before = seen.length
    await until(() => seen.length > before)
    clearInterval(others)
    printed.mockRestore()
  })

  it('is not one whose server answers, nor one that is idle', async () => {
    const bus = await nats.connect({ silenceMs: 3_000 })
    const events = eventsOf(bus)
    await new Promise((resolve) => setTimeout(resolve, 1_800))
    expect(events).toEqual([])
    expect(bus.stale).toBe(false)
  })
})
