import { existsSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { chromium } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { listen } from '../../test/support/event-stream.ts'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { ensureStream, streamWriter } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { client, ensureContractStreams, serve } from '../service/index.ts'
import { view } from '../stream/index.ts'
import { fromEvent, fromView, sseGateway } from './index.ts'

const nats = withNats()
const rooms = view('rooms', { key: 'room' })
const house = contract('house', {
  version: '1.0.0',
  events: {
    rang: { payload: z.object({ n: z.number() }), durable: { maxMessages: 50, discard: 'old' } },
    passed: { payload: z.object({ n: z.number() }) },
  },
})
const gateway = sseGateway({
  streams: { rooms: fromView(rooms), rang: fromEvent(house, 'rang'), passed: fromEvent(house, 'passed') },
  routes: (app) => {
    app.get('/', (_request, reply) => reply.type('text/html').send('<title>empty</title>'))
  },
})

async function start(config: Record<string, unknown> = {}) {
  const unit = await serve(nats.bus, gateway, { config: { port: 0, ...config } as never })
  const port = unit.stats!().port!
  return { unit, port, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => unit.drain() }
}

const putRows = async (rows: [room: string, value: number][]) => {
  const writer = await streamWriter(nats.bus, 'VIEW_rooms')
  for (const [room, value] of rows) writer.add(`view.rooms.${room}`, Buffer.from(JSON.stringify({ room, value })))
  await writer.flush()
  return writer.acknowledged
}

describe('SSE gateway', () => {
  it('gives a snapshot of a view, then every row, with the sequence as id', async () => {
    await using at = await start()
    await putRows([
      ['a', 1],
      ['b', 2],
      ['a', 3],
    ])
    const browser = listen(`${at.url}/streams/rooms`)
    await until(() => browser.events.length >= 2)
    expect(browser.events.map(({ data }) => data)).toEqual(['{"room":"b","value":2}', '{"room":"a","value":3}'])
    const end = await putRows([['b', 4]])
    await until(() => browser.events.length === 3)
    expect(browser.events[2]).toEqual({ id: String(end), event: 'rooms', data: '{"room":"b","value":4}' })
    expect(browser.state.headers['content-type']).toContain('text/event-stream')
    expect(browser.state.text).toMatch(/^retry: \d+\n\n/)
    browser.close()
  })

  it('resumes after the last event seen, from memory and from the stream, nothing missed and nothing twice', async () => {
    const before = await putRows(Array.from({ length: 3_000 }, (_, i) => [`r${i % 7}`, i]))
    await using at = await start()
    // older than the gateway itself
    const old = listen(`${at.url}/streams/rooms`, { 'Last-Event-ID': String(before - 3_000) })
    const end = await putRows(Array.from({ length: 500 }, (_, i) => [`r${i % 7}`, i]))
    await until(() => old.events.at(-1)?.id === String(end))
    expect(old.events.map(({ id }) => Number(id))).toEqual(Array.from({ length: 3_500 }, (_, i) => before - 2_999 + i))
    // what the gateway still has
    const recent = listen(`${at.url}/streams/rooms?lastEventId=${end - 100}`)
    await until(() => recent.events.length === 100)
    expect(recent.events.map(({ id }) => Number(id))).toEqual(Array.from({ length: 100 }, (_, i) => end - 99 + i))
    old.close()
    recent.close()
  })

  it('sends a gap to a client when what it missed is gone', async () => {
    await ensureContractStreams(nats.bus, house)
    const api = client(nats.bus, house)
    for (let n = 0; n < 80; n++) await api.rang.publish({ n })
    await using at = await start()
    const browser = listen(`${at.url}/streams/rang`, { 'Last-Event-ID': '5' })
    await until(() => browser.events.length === 51)
    expect(browser.events[0]).toMatchObject({ event: 'gap', data: '{"after":5,"firstAvailable":31}' })
    expect(browser.events.slice(1).map(({ data }) => JSON.parse(data).n)).toEqual(
      Array.from({ length: 50 }, (_, i) => 30 + i),
    )
    browser.close()
  })

  it('passes on events that are not kept, and picks by key and by time', async () => {
    await using at = await start()
    const passing = listen(`${at.url}/streams/passed`)
    const one = listen(`${at.url}/streams/rooms?key=only`)
    const thin = listen(`${at.url}/streams/rooms?every=100`)
    await until(() => at.unit.stats!().clients === 3)
    await client(nats.bus, house).passed.publish({ n: 7 })
    await putRows(Array.from({ length: 1_000 }, (_, i) => [i % 10 === 0 ? 'only' : 'other', i]))
    await until(() => passing.events.length === 1 && one.events.length === 100)
    expect(passing.events[0]).toEqual({ id: undefined, event: 'passed', data: '{"n":7}' })
    await until(() => thin.events.some(({ data }) => data.includes('999')))
    expect(thin.events.length).toBeLessThan(100)
    for (const browser of [passing, one, thin]) browser.close()
    await until(() => at.unit.stats!().clients === 0)
  })

  it('is not held up by a client that never reads', async () => {
    await using at = await start({ maxBuffered: 10 })
    const stuck = request(`${at.url}/streams/passed`, (response) => response.pause())
    stuck.on('error', () => undefined)
    stuck.end()
    const browser = listen(`${at.url}/streams/passed`)
    await until(() => at.unit.stats!().clients === 2)
    const api = client(nats.bus, house)
    // more than the buffers of two sockets hold
    const payload = { n: 1, filler: 'x'.repeat(10_000) }
    for (let i = 0; i < 2_000; i++) {
      await api.passed.publish(payload)
      if (i % 100 === 0) await until(() => browser.events.length >= i)
    }
    await until(() => browser.events.length === 2_000)
    stuck.destroy()
    browser.close()
  })

  it('rejects what makes no sense, each with a code', async () => {
    await using at = await start({ maxClients: 1 })
    const get = async (path: string, headers: Record<string, string> = {}) => {
      const response = await fetch(at.url + path, { headers })
      return [response.status, ((await response.json()) as { code: string }).code]
    }
    expect(await get('/streams/nothing')).toEqual([404, 'STREAM_NOT_FOUND'])
    expect(await get('/streams/rooms?every=-1')).toEqual([400, 'INVALID_OPTION'])
    expect(await get('/streams/passed?every=100')).toEqual([400, 'INVALID_OPTION'])
    const browser = listen(`${at.url}/streams/rooms`)
    await until(() => at.unit.stats!().clients === 1)
    expect(await get('/streams/rooms')).toEqual([503, 'OVERLOADED'])
    browser.close()
    expect(() => fromEvent(house, 'nothing' as 'rang')).toThrow(expect.objectContaining({ code: 'UNKNOWN_ENDPOINT' }))
    expect(await codeOf(serve(nats.bus, gateway, { config: { port: at.port } as never }))).toBe('PORT_TAKEN')
    expect(await codeOf(serve(nats.bus, gateway, { config: { port: 'x' } as never }))).toBe('INVALID_CONFIG')
  })

  it('serves one stream per connection, however many are asked for at once', async () => {
    await using at = await start()
    const socket = connect(at.port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.resume()
    socket.write('GET /streams/rooms HTTP/1.1\r\nhost: here\r\n\r\n'.repeat(20))
    await until(() => at.unit.stats!().rejected === 19)
    expect(at.unit.stats!().clients).toBe(1)
    socket.destroy()
    await until(() => at.unit.stats!().clients === 0)
  })

  it('sends everybody away when it drains', async () => {
    const at = await start()
    const browser = listen(`${at.url}/streams/rooms`)
    await until(() => at.unit.stats!().clients === 1)
    await at.unit.drain()
    await until(() => browser.state.ended)
  })

  const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
  if (!executablePath)
    console.warn('SKIPPED: no Chromium here, so nothing is tested in a browser; apt-get install chromium')
  it.skipIf(!executablePath)(
    'is resumed by a real browser after a restart, nothing missed and nothing twice',
    async () => {
      await ensureStream(nats.bus, rooms.spec)
      const first = await start()
      const browser = await chromium.launch({
        executablePath: executablePath!,
        args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
      })
      try {
        const page = await browser.newPage()
        await page.goto(first.url)
        await page.evaluate(() => {
          const ids: number[] = []
          Object.assign(globalThis, { ids })
          new EventSource('/streams/rooms').addEventListener('rooms', (event) =>
            ids.push(Number((event as { lastEventId?: string }).lastEventId)),
          )
        })
        const seen = () => page.evaluate(() => (globalThis as unknown as { ids: number[] }).ids)
        let end = await putRows([['start', 0]])
        await until(async () => (await seen()).at(-1) === end)
        const from = end
        end = await putRows(Array.from({ length: 50 }, (_, i) => ['x', i]))
        await until(async () => (await seen()).at(-1) === end)
        await first.unit.drain()
        end = await putRows(Array.from({ length: 50 }, (_, i) => ['y', i]))
        await using _second = await start({ port: first.port })
        end = await putRows(Array.from({ length: 50 }, (_, i) => ['z', i]))
        await until(async () => (await seen()).at(-1) === end)
        expect((await seen()).filter((id) => id > from)).toEqual(Array.from({ length: 150 }, (_, i) => from + 1 + i))
      } finally {
        await browser.close()
      }
    },
  )
})
