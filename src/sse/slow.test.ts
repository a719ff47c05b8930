// Clients that do not keep up: what each policy gives them, and that nobody else notices.
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { listen } from '../../test/support/event-stream.ts'
import { until, withNats } from '../../test/support/nats.ts'
import { ensureStream, streamWriter } from '../bus/internal.ts'
import { serve } from '../service/index.ts'
import { fromStream, type SlowClientPolicy, sseGateway } from './index.ts'

const nats = withNats()
const filler = 'x'.repeat(10_000)
const events = 3_000 // 30 MB: more than the buffers of both ends of a socket hold

async function start(policy: SlowClientPolicy, config: Record<string, unknown> = {}) {
  const name = `SLOW_${policy.replaceAll('-', '_')}_${Object.keys(config).length}`
  await ensureStream(nats.bus, { name, subjects: [`${name}.*`] })
  const gateway = sseGateway({ streams: { slow: fromStream(name, { policy, maxBuffered: 100 }) } })
  const unit = await serve(nats.bus, gateway, { config: { port: 0, ...config } as never })
  const port = unit.stats!().port!
  /** No faster than a client that keeps up. */
  const send = async (quick?: { events: unknown[] }) => {
    const writer = await streamWriter(nats.bus, name)
    for (let n = 0; n < events; n++) {
      writer.add(`${name}.k${n % 5}`, Buffer.from(JSON.stringify({ n, filler })))
      if (n % 50 > 0) continue
      await writer.flush()
      if (quick) await until(() => quick.events.length > n)
    }
    await writer.flush()
  }
  return { unit, port, send, url: `http://127.0.0.1:${port}/streams/slow`, [Symbol.asyncDispose]: () => unit.drain() }
}

/** A client that reads nothing until it is asked to. */
function stuck(port: number) {
  const state = { text: '', ended: false }
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /streams/slow HTTP/1.1\r\nhost: here\r\n\r\n')
  socket.pause()
  socket.on('data', (chunk) => {
    state.text += chunk
  })
  socket.on('error', () => undefined)
  socket.on('close', () => {
    state.ended = true
  })
  const ids = () => [...state.text.matchAll(/^id: (\d+)$/gm)].map((match) => Number(match[1]))
  return { socket, state, ids }
}

describe('a client that reads nothing', () => {
  it('loses the oldest and holds nobody up: drop-oldest', async () => {
    await using at = await start('drop-oldest')
    const { socket, ids } = stuck(at.port)
    const quick = listen(at.url)
    await until(() => at.unit.stats!().clients === 2)
    await at.send(quick)
    await until(() => quick.events.length === events)
    expect(at.unit.stats!().dropped).toBeGreaterThan(1_000)
    socket.resume()
    await until(() => ids().at(-1) === events)
    const got = ids()
    expect(got.length).toBe(events - at.unit.stats!().dropped!)
    expect(got).toEqual([...got].sort((a, b) => a - b))
    expect(got.slice(-100)).toEqual(Array.from({ length: 100 }, (_, i) => events - 99 + i))
    socket.destroy()
    quick.close()
  })

  it('gets the latest of each key, in order: coalesce-by-key', async () => {
    await using at = await start('coalesce-by-key')
    const { socket, ids, state } = stuck(at.port)
    await until(() => at.unit.stats!().clients === 1)
    await at.send()
    await until(() => at.unit.stats!().dropped! > 1_000)
    socket.resume()
    await until(() => ids().at(-1) === events)
    const got = ids()
    expect(got.slice(-5)).toEqual([1, 2, 3, 4, 5].map((i) => events - 5 + i))
    expect(new Set(got).size).toBe(got.length)
    expect(got).toEqual([...got].sort((a, b) => a - b))
    expect(got.length).toBe(events - at.unit.stats!().dropped!)
    expect(state.ended).toBe(false)
    socket.destroy()
  })

  it('is disconnected and resumes without a gap: disconnect', async () => {
    await using at = await start('disconnect')
    const { socket, ids, state } = stuck(at.port)
    const quick = listen(at.url)
    await until(() => at.unit.stats!().clients === 2)
    await at.send(quick)
    await until(() => quick.events.length === events)
    await until(() => at.unit.stats!().slow === 1)
    expect(at.unit.stats!().clients).toBe(1)
    socket.resume()
    await until(() => state.ended)
    const last = ids().at(-1)!
    expect(last).toBeLessThan(events)
    const back = listen(at.url, { 'Last-Event-ID': String(last) })
    await until(() => back.events.at(-1)?.id === String(events))
    expect(back.events.map(({ id }) => Number(id))).toEqual(
      Array.from({ length: events - last }, (_, i) => last + 1 + i),
    )
    quick.close()
    back.close()
  })

  it('is disconnected when its socket takes nothing for too long, whatever the policy', async () => {
    await using at = await start('drop-oldest', { stuckMs: 200, heartbeatMs: 50 })
    const { socket } = stuck(at.port)
    await until(() => at.unit.stats!().clients === 1)
    await at.send()
    await until(() => at.unit.stats!().clients === 0)
    expect(at.unit.stats!().slow).toBe(1)
    socket.destroy()
  })
})
