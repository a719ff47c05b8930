import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest'
import { until, withNats } from '../../test/support/nats.ts'
import { type Bus, type BusEvent, type MyelinError, now, PendingReply } from './internal.ts'

const nothing = new Uint8Array(0)

describe('a callback that fails', () => {
  const nats = withNats()
  let warned: MockInstance
  beforeEach(() => {
    warned = vi.spyOn(process, 'emitWarning').mockReturnValue()
  })
  afterEach(() => warned.mockRestore())

  /** A connection with an innocent subscription, and what is told of its failures. */
  async function innocent(): Promise<{ bus: Bus; reported: string[]; lives(): Promise<void> }> {
    const bus = await nats.connect()
    const reported: string[] = []
    bus.on((event) => {
      if (event.type === 'error') reported.push(`${event.where}: ${event.error.message}`)
      else reported.push(event.type)
    })
    bus.subscribe('echo', (message) => message.respond(message.data))
    await bus.flush()
    const lives = async () => {
      const reply = await bus.request('echo', Buffer.from('pong'), { deadline: now() + 2_000 })
      expect(reply.string()).toBe('pong')
      expect(bus.connected).toBe(true)
    }
    return { bus, reported, lives }
  }

  it('of a subscription: it is told and counted once each, and the connection goes on', async () => {
    const { bus, reported, lives } = await innocent()
    let heard = 0
    bus.subscribe('boom', () => {
      heard += 1
      throw new Error('a bug')
    })
    for (let i = 0; i < 3; i++) bus.publish('boom', nothing)
    await bus.flush()
    await until(() => heard === 3)
    await lives()
    expect(reported).toEqual(Array(3).fill('a subscriber of boom: a bug'))
    expect(bus.failures).toBe(3)
  })

  it('of a subscription, later: a rejected promise is told and counted', async () => {
    const { bus, reported, lives } = await innocent()
    bus.subscribe('boom.later', async () => {
      await bus.flush()
      throw 'no error at all'
    })
    bus.publish('boom.later', nothing)
    await until(() => reported.length === 1)
    await lives()
    expect(reported).toEqual(['a subscriber of boom.later: no error at all'])
  })

  it('of a call: its own call ends with INVALID_REPLY, the others go on', async () => {
    const { bus, reported, lives } = await innocent()
    const failed: string[] = []
    class Careless extends PendingReply {
      onReply(): void {
        throw new Error('a bug')
      }
      onFailure(error: MyelinError): void {
        failed.push(error.code)
        throw new Error('another bug')
      }
    }
    bus.start(new Careless('echo', now() + 2_000), nothing, '')
    await until(() => failed.length === 1)
    await lives()
    expect(failed).toEqual(['INVALID_REPLY'])
    expect(reported).toEqual(['the answer to a call to echo: a bug', 'the end of a call to echo: another bug'])
  })

  it('of a listener: the others hear all the same', async () => {
    const { bus, lives } = await innocent()
    bus.on(() => {
      throw new Error('a bug')
    })
    const heard: BusEvent[] = []
    bus.on((event) => heard.push(event))
    bus.report(new Error('told'), 'a test')
    expect(heard).toMatchObject([{ type: 'error', where: 'a test', error: { message: 'told' } }])
    expect(bus.failures).toBe(2)
    await lives()
  })

  it('is also a warning of the process, but not one per message', async () => {
    const { bus } = await innocent()
    for (let i = 0; i < 50; i++) bus.report(new Error('told'), 'a test')
    expect(warned.mock.calls.length).toBeLessThanOrEqual(1)
  })
})
