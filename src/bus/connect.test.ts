import { mkdtemp, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { codeOf, until } from '../../test/support/nats.ts'
import { atLeast, type Bus, type ConnectOptions, connect, type EmbeddedNats, embeddedNats } from './internal.ts'

/** The error that connecting fails with; a connection made against expectation is closed. */
async function refusal(options: ConnectOptions): Promise<{ code: string; message: string; retriable?: boolean }> {
  let bus: Bus
  try {
    bus = await connect({ timeoutMs: 2_000, ...options })
  } catch (error) {
    return error as { code: string; message: string }
  }
  await bus.close()
  return { code: 'none', message: '' }
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'myelin-connect-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))
afterEach(() => vi.unstubAllEnvs())

const connections = (server: Server) =>
  new Promise<number>((resolve, reject) =>
    server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  )

const listening: { server: Server; sockets: Socket[] }[] = []
async function closeAll(): Promise<void> {
  for (const { server, sockets } of listening.splice(0)) {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  }
}
afterEach(closeAll)
async function listen(server: Server): Promise<number> {
  const sockets: Socket[] = []
  server.on('connection', (socket) => sockets.push(socket))
  listening.push({ server, sockets })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

describe('connecting to something that is not there', () => {
  it('says that no server answers, at which address, and that trying again may help', async () => {
    const port = await listen(createServer())
    await closeAll()
    const error = await refusal({ servers: `nats://127.0.0.1:${port}` })
    expect(error).toMatchObject({ code: 'SERVER_UNREACHABLE', retriable: true })
    expect(error.message).toContain(String(port))
  })

  it('gives up after timeoutMs when the address accepts and stays silent', async () => {
    const port = await listen(createServer((socket) => socket.on('error', () => {})))
    expect(await refusal({ servers: `127.0.0.1:${port}`, timeoutMs: 100 })).toMatchObject({
      code: 'SERVER_UNREACHABLE',
    })
  })

  it('keeps no socket open to it, which would keep the process alive', async () => {
    const silent = createServer((socket) => socket.on('error', () => {}).resume())
    const port = await listen(silent)
    await refusal({ servers: `127.0.0.1:${port}`, timeoutMs: 200 })
    await until(async () => (await connections(silent)) === 0)
  })

  it('keeps none to a silent one either when the next server answers', async () => {
    const silent = createServer((socket) => socket.on('error', () => {}).resume())
    const port = await listen(silent)
    await using server = await embeddedNats()
    for (let tries = 0; tries < 2; tries++) {
      await using bus = await connect({ servers: [`127.0.0.1:${port}`, server.url], timeoutMs: 300 })
      await bus.flush()
      await until(async () => (await connections(silent)) === 0)
      expect(bus.connected).toBe(true)
    }
  })

  it('says so when no address is given, none runs in the folder and embedding is off', async () => {
    vi.stubEnv('NATS_URL', '')
    const error = await refusal({ embed: false, storeDir: join(folder, 'nothing-here') })
    expect(error.code).toBe('SERVER_UNREACHABLE')
    expect(error.message).toContain('nothing-here')
  })

  it('recognises a server that speaks HTTP', async () => {
    const port = await listen(createHttpServer((_, response) => response.end('hello')))
    expect(await refusal({ servers: `127.0.0.1:${port}` })).toMatchObject({ code: 'NOT_A_NATS_SERVER' })
  })

  it('recognises a server that speaks first, but something else', async () => {
    const port = await listen(createServer((socket) => socket.on('error', () => {}).end('220 hello, this is mail\r\n')))
    expect(await refusal({ servers: `127.0.0.1:${port}` })).toMatchObject({ code: 'NOT_A_NATS_SERVER' })
  })
})

describe('options that make no sense', () => {
  it.each<[string, ConnectOptions]>([
    ['a negative time', { timeoutMs: -1 }],
    ['a time that is no number', { timeoutMs: Number.NaN }],
    ['no room for calls', { maxCallsInFlight: 0 }],
    ['no room for bytes', { maxPendingBytes: 0 }],
    ['an unknown codec', { codec: 'xml' as never }],
    ['a codec named like a property of every object', { codec: 'toString' as never }],
    ['WebSocket and plain addresses together', { servers: ['ws://127.0.0.1:1', 'nats://127.0.0.1:1'] }],
    ['an empty address among others', { servers: 'nats://127.0.0.1:1,,' }],
    ['an empty address in a list', { servers: [' '] }],
    ['an empty list', { servers: [] }],
  ])('are refused at once: %s', async (_, options) => {
    expect(await refusal({ servers: 'nats://127.0.0.1:1', ...options })).toMatchObject({ code: 'INVALID_OPTION' })
  })
})

describe('a server that can less than is needed', () => {
  let server: EmbeddedNats
  beforeAll(async () => {
    server = await embeddedNats({ jetstream: false, websocketPort: 0 })
  })
  afterAll(() => server?.stop())

  it('is JETSTREAM_DISABLED where JetStream is required and off', async () => {
    expect(await refusal({ servers: server.url, requires: { jetstream: true } })).toMatchObject({
      code: 'JETSTREAM_DISABLED',
    })
  })

  it('is SERVER_TOO_OLD below the required version, which the error carries', async () => {
    expect(await refusal({ servers: server.url, requires: { version: '99.0.0' } })).toMatchObject({
      code: 'SERVER_TOO_OLD',
      data: { needed: '99.0.0' },
    })
  })

  it('is good enough for what it can do, over WebSocket too', async () => {
    await using bus = await connect({ servers: server.websocketUrl!, requires: { version: '2.10.0' } })
    await bus.flush()
    expect(bus.connected).toBe(true)
    expect(atLeast(bus.serverVersion, '2.10.0')).toBe(true)
  })
})

describe('connecting without an address', () => {
  it('takes NATS_URL, and else a server that lives and ends with the connection', async () => {
    vi.stubEnv('NATS_URL', '')
    const storeDir = join(folder, 'own')
    const own = await connect({ storeDir })
    vi.stubEnv('NATS_URL', own.url)
    const named = await connect({ embed: false })
    expect(named.url).toBe(own.url)
    await named.close()
    vi.stubEnv('NATS_URL', '')
    const found = await connect({ embed: false, storeDir })
    expect(found.url).toBe(own.url)
    await found.close()
    await own.close()
    expect(await codeOf(connect({ embed: false, storeDir }))).toBe('SERVER_UNREACHABLE')
  })
})

describe('comparing versions', () => {
  it('goes number by number and ignores what follows a dash', () => {
    expect(atLeast('2.10.0', '2.9.25')).toBe(true)
    expect(atLeast('2.9.25', '2.10.0')).toBe(false)
    expect(atLeast('2.14.0-RC.1', '2.14.0')).toBe(true)
    expect(atLeast('2.14', '2.14.0')).toBe(true)
    expect(atLeast('v', '0.0.1')).toBe(false)
  })
})
