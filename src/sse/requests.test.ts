// What clients send that is no ordinary request for an event stream.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { listen } from '../../test/support/event-stream.ts'
import { until, withNats } from '../../test/support/nats.ts'
import { ensureStream, persist } from '../bus/internal.ts'
import { serve } from '../service/index.ts'
import { view } from '../stream/index.ts'
import { fromStream, fromView, sseGateway } from './index.ts'

const nats = withNats()
const rooms = view('rooms', { key: 'room' })

async function start(config: Record<string, unknown> = {}) {
  await ensureStream(nats.bus, { name: 'RAW', subjects: ['raw.*'] })
  const gateway = sseGateway({ streams: { raw: fromStream('RAW'), rooms: fromView(rooms) } })
  const unit = await serve(nats.bus, gateway, { config: { port: 0, ...config } as never })
  const port = unit.stats!().port!
  return { unit, port, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => unit.drain() }
}
const put = (subject: string, value: unknown) =>
  persist(nats.bus, subject, Buffer.from(JSON.stringify(value)), { deadline: Date.now() + 5_000 })

/** Sends bytes and collects what comes back; `closedAfterMs` is set when the server has ended the connection. */
function send(port: number, bytes: string) {
  const socket = connect(port, '127.0.0.1')
  const began = performance.now()
  const state = { text: '', closedAfterMs: undefined as number | undefined }
  socket.on('data', (chunk) => {
    state.text += chunk
  })
  socket.on('error', () => undefined)
  socket.on('close', () => {
    state.closedAfterMs = performance.now() - began
  })
  socket.write(bytes)
  return { state, socket }
}

describe('requests', () => {
  it('HEAD is answered with the head alone, and holds no place', async () => {
    await using at = await start()
    const head = send(at.port, 'HEAD /streams/raw HTTP/1.1\r\nHost: x\r\n\r\n')
    await until(() => head.state.text.includes('\r\n\r\n'))
    await put('raw.a', { n: 1 })
    expect(head.state.text).toMatch(/^HTTP\/1.1 200 /)
    expect(head.state.text).toMatch(/content-type: text\/event-stream/i)
    expect(head.state.text.split('\r\n\r\n')[1]).toBe('')
    expect(at.unit.stats!().clients).toBe(0)
    head.socket.destroy()
    expect((await fetch(`${at.url}/streams/none`, { method: 'HEAD' })).status).toBe(404)
  })

  it.each(['POST', 'PUT', 'DELETE', 'PATCH'])('%s is rejected with 405 and what is allowed', async (method) => {
    await using at = await start()
    const response = await fetch(`${at.url}/streams/raw`, { method, ...(method === 'DELETE' ? {} : { body: 'x' }) })
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD, OPTIONS'])
    expect(((await response.json()) as { code: string }).code).toBe('METHOD_NOT_ALLOWED')
  })

  it.each(['yesterday', '-1', '1.5', '99999999999999999999', '42-7', 'NaN', ' '])(
    'an id of another server (%j) is a gap and a new beginning, not an error that ends EventSource for good',
    async (id) => {
      await put('view.rooms.a', { room: 'a' }).catch(() => undefined)
      await using at = await start()
      await put('view.rooms.a', { room: 'a' })
      const browser = listen(`${at.url}/streams/rooms`, { 'Last-Event-ID': id })
      await until(() => browser.events.length >= (id === ' ' ? 1 : 2))
      expect(browser.state.status).toBe(200)
      if (id !== ' ') {
        const gap = browser.events.shift()!
        expect([gap.event, JSON.parse(gap.data)]).toEqual(['gap', { after: null, firstAvailable: 1 }])
      }
      expect(browser.events[0]).toMatchObject({ event: 'rooms', data: '{"room":"a"}' })
      browser.close()
    },
  )

  it('sends a new client its position, so that it misses nothing if it is cut off before the first event', async () => {
    await using at = await start()
    const { sequence } = await put('raw.a', { n: 0 })
    const first = listen(`${at.url}/streams/raw`)
    await until(() => first.state.text.includes('event: position'))
    // as an EventSource remembers it: the last `id` field, with or without an event
    const id = /^id: ?(\d+)$/m.exec(first.state.text)![1]!
    expect(Number(id)).toBe(sequence)
    first.close()
    await put('raw.a', { n: 1 })
    const again = listen(`${at.url}/streams/raw`, { 'Last-Event-ID': id })
    await until(() => again.events.length === 1)
    expect(again.events[0]).toMatchObject({ event: 'raw', data: '{"n":1}' })
    again.close()
  })

  it('every answer says what it varies with, errors too, and none is kept by a cache', async () => {
    await using at = await start({ cors: 'https://a.example' })
    for (const [path, status] of [
      ['/streams/none', 404],
      ['/streams/raw?every=1', 400],
      ['/streams/rooms?filter=!', 400],
    ] as const) {
      const { headers, ...response } = await fetch(at.url + path, { headers: { origin: 'https://a.example' } }).then(
        (answer) => ({ status: answer.status, headers: answer.headers }),
      )
      expect([response.status, headers.get('vary'), headers.get('cache-control')]).toEqual([
        status,
        'origin, accept-encoding',
        'no-store',
      ])
    }
    const browser = listen(`${at.url}/streams/rooms`)
    await until(() => browser.state.status === 200)
    expect(browser.state.headers.vary).toBe('origin, accept-encoding')
    browser.close()
  })

  it('that never become whole are ended, and hold a place until then', async () => {
    await using at = await start({ requestMs: 600, maxClients: 3 })
    const slow = [
      send(at.port, ''),
      send(at.port, 'GET /streams/raw HTTP/1.1\r\nHost: x\r\nX-Slow: '),
      send(at.port, 'POST /streams/none HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n'),
    ]
    await until(async () => (await fetch(`${at.url}/streams/raw`, { method: 'HEAD' })).status === 200)
    const response = await fetch(`${at.url}/streams/raw`)
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([503, 'OVERLOADED'])
    await until(() => slow.every(({ state }) => state.closedAfterMs !== undefined))
    const browser = listen(`${at.url}/streams/raw`)
    await until(() => browser.state.status === 200)
    browser.close()
  })

  it('for streams whose names the protocol uses itself cannot come up: such names are rejected', () => {
    for (const name of ['error', 'open', 'gap', 'move', 'position', '', 'a b', 'a\nid: 7', 'a/b', 'a?b']) {
      expect(() => sseGateway({ streams: { [name]: fromView(rooms) } }), name).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION' }),
      )
    }
  })
})

describe('an HTTP/2 stream that is never read', () => {
  it('does not hold up the end of the gateway', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'myelin-tls-'))
    const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    execFileSync('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
      ...['-subj', '/CN=localhost', '-keyout', keyFile, '-out', certFile],
    ], { stdio: 'ignore' }) // biome-ignore format: as one would type it
    const at = await start({ tls: { certFile, keyFile } })
    const session = connectHttp2(`https://127.0.0.1:${at.port}`, { rejectUnauthorized: false })
    session.on('error', () => undefined)
    const request = session.request({ ':path': '/streams/raw' })
    request.on('error', () => undefined)
    await new Promise((resolve) => request.once('response', resolve))
    request.pause() // more than its window comes, and is not taken
    for (let n = 0; n < 40; n++) await put('raw.big', { n, text: 'x'.repeat(10_000) })
    const began = performance.now()
    await at.unit.drain()
    expect(performance.now() - began).toBeLessThan(10_000)
    session.destroy()
    rmSync(folder, { recursive: true })
  })
})
