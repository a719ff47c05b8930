// One stream of a gateway that cannot be read: the others are served, and it comes back by itself.
import { describe, expect, it } from 'vitest'
import { listen } from '../../test/support/event-stream.ts'
import { until, withNats } from '../../test/support/nats.ts'
import { ensureStream, failure, persist, removeStream } from '../bus/internal.ts'
import { serve } from '../service/index.ts'
import { fromStream, type SseSource, sseGateway } from './index.ts'

const nats = withNats()
const put = (subject: string, n: number) =>
  persist(nats.bus, subject, Buffer.from(JSON.stringify({ n })), { deadline: Date.now() + 5_000 })

describe('a stream that cannot be read', () => {
  it('shows in the health check and comes back; the gateway and its other streams go on', async () => {
    await ensureStream(nats.bus, { name: 'GOOD', subjects: ['good.*'] })
    await ensureStream(nats.bus, { name: 'FRAIL', subjects: ['frail.*'] })
    const gateway = sseGateway({ streams: { good: fromStream('GOOD'), frail: fromStream('FRAIL') } })
    const unit = await serve(nats.bus, gateway, { config: { port: 0 } as never })
    const url = `http://127.0.0.1:${unit.stats!().port}`
    let ended = false
    unit.done?.then(
      () => {
        ended = true
      },
      () => {
        ended = true
      },
    )
    const [good, frail] = [listen(`${url}/streams/good`), listen(`${url}/streams/frail`)]
    await until(() => unit.stats!().clients === 2)
    await removeStream(nats.bus, 'FRAIL')
    const health = () => unit.checks!['stream frail']!.run()
    await until(async () => (await health()) !== true, 20_000)
    expect(await health()).toMatch(/STREAM_NOT_FOUND/)
    expect(await unit.checks!['stream good']!.run()).toBe(true)
    await put('good.a', 1)
    await until(() => good.events.length === 1)
    expect([ended, frail.state.ended]).toEqual([false, false])
    await ensureStream(nats.bus, { name: 'FRAIL', subjects: ['frail.*'] })
    await until(async () => {
      await put('frail.a', 1)
      return frail.events.some(({ event }) => event === 'frail')
    }, 20_000)
    await until(async () => (await health()) === true)
    good.close()
    frail.close()
    await unit.drain()
  })

  it('at the start holds up neither the gateway nor the others; its clients wait and are served when it can be', async () => {
    await ensureStream(nats.bus, { name: 'LATER', subjects: ['later.*'] })
    await ensureStream(nats.bus, { name: 'GOOD', subjects: ['good.*'] })
    let down = true
    const later = fromStream('LATER')
    const source: SseSource = {
      ...later,
      ensure: async (bus) => {
        // as when the node of a stream with one replica is down
        if (down) throw failure('DEADLINE_EXCEEDED', 'stream LATER: JetStream did not answer')
        await later.ensure(bus)
      },
    }
    const gateway = sseGateway({ streams: { good: fromStream('GOOD'), later: source } })
    const unit = await serve(nats.bus, gateway, { config: { port: 0, heartbeatMs: 100 } as never })
    const url = `http://127.0.0.1:${unit.stats!().port}`
    const [good, waiting] = [listen(`${url}/streams/good`), listen(`${url}/streams/later`)]
    await until(() => unit.stats!().clients === 2)
    await put('good.a', 2)
    await until(() => good.events.length === 1)
    expect(await unit.checks!['stream later']!.run()).toMatch(/DEADLINE_EXCEEDED/)
    await until(() => waiting.state.text.includes(':\n\n'))
    down = false
    await until(() => waiting.state.text.includes('event: position'))
    await put('later.a', 1)
    await until(() => waiting.events.length === 1)
    expect(await unit.checks!['stream later']!.run()).toBe(true)
    good.close()
    waiting.close()
    await unit.drain()
  })
})
