import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nkeys } from '@nats-io/nats-core'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { codeOf } from '../../test/support/nats.ts'
import { atLeast, type Bus, type ConnectOptions, connect, type EmbeddedNats, embeddedNats } from './index.ts'
import { withoutPassword } from './connect.ts'

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

const listening: Server[] = []
afterEach(async () => {
  for (const server of listening.splice(0)) await new Promise((resolve) => server.close(resolve))
})
async function listen(server: Server): Promise<number> {
  listening.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

describe('connecting to something that is not there', () => {
  it('says that no server answers, at which address, and that trying again may help', async () => {
    const port = await listen(createServer())
    const [server] = listening.splice(0)
    await new Promise((resolve) => server!.close(resolve))
    const error = await refusal({ servers: `nats://127.0.0.1:${port}` })
    expect(error).toMatchObject({ code: 'SERVER_UNREACHABLE', retriable: true })
    expect(error.message).toContain(String(port))
  })

  it('gives up after timeoutMs when the address accepts and stays silent', async () => {
    const port = await listen(createServer((socket) => socket.on('error', () => {})))
    expect(await refusal({ servers: `127.0.0.1:${port}`, timeoutMs: 100 })).toMatchObject({ code: 'SERVER_UNREACHABLE' })
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

describe('credentials', () => {
  let tokens: EmbeddedNats
  let users: EmbeddedNats
  const pair = nkeys.createUser()
  const seed = new TextDecoder().decode(pair.getSeed())
  beforeAll(async () => {
    tokens = await embeddedNats({ extraConfig: 'authorization { token: "s3cret" }' })
    users = await embeddedNats({
      extraConfig: `authorization { users: [ { user: ann, password: "pa55word" }, { nkey: ${pair.getPublicKey()} } ] }`,
    })
  })
  afterAll(async () => {
    await tokens?.stop()
    await users?.stop()
  })

  it.each<[string, ConnectOptions]>([
    ['a wrong token', { token: 'wr0ng' }],
    ['no token', {}],
  ])('are refused by the server as AUTH_FAILED: %s', async (_, options) => {
    const error = await refusal({ servers: tokens.url, ...options })
    expect(error.code).toBe('AUTH_FAILED')
    expect(error.message).not.toContain('wr0ng')
  })

  it('are refused as AUTH_FAILED with a wrong password, which no message repeats', async () => {
    for (const options of [
      { servers: users.url, user: 'ann', password: 'wr0ng' },
      { servers: users.url.replace('//', '//ann:wr0ng@') },
      { servers: users.url, nkeySeed: new TextDecoder().decode(nkeys.createUser().getSeed()) },
    ]) {
      const error = await refusal(options)
      expect(error.code).toBe('AUTH_FAILED')
      expect(error.message).not.toContain('wr0ng')
      if ('nkeySeed' in options) expect(error.message).not.toContain(options.nkeySeed)
    }
  })

  it('let the right token, user and nkey in', async () => {
    for (const options of [
      { servers: tokens.url, token: 's3cret' },
      { servers: users.url, user: 'ann', password: 'pa55word' },
      { servers: users.url, nkeySeed: `${seed}\n` },
    ]) {
      await using bus = await connect(options)
      await bus.flush()
    }
  })

  it('let a user written into the address in', async () => {
    await using bus = await connect({ servers: users.url.replace('//', '//ann:pa55word@') })
    await bus.flush()
  })

  it('that cannot be an nkey seed are named as such without being repeated', async () => {
    for (const bad of ['SUNOTASEED', seed.slice(0, -1), `${seed.slice(0, -1)}${seed.endsWith('A') ? 'B' : 'A'}`]) {
      const error = await refusal({ servers: users.url, nkeySeed: bad })
      expect(error.code).toBe('BAD_CREDENTIALS')
      expect(error.message).not.toContain(bad)
    }
  })

  it('in a file that is missing or holds something else are named with the path', async () => {
    const missing = await refusal({ servers: users.url, credsFile: join(folder, 'missing.creds') })
    expect(missing.code).toBe('FILE_NOT_FOUND')
    expect(missing.message).toContain('missing.creds')
    const rubbish = join(folder, 'rubbish.creds')
    const markers = '-----BEGIN NATS USER JWT-----\nno.jwt.here\n------END NATS USER JWT------\n'
    for (const text of ['rubbish', `${markers}-----BEGIN USER NKEY SEED-----\nSUXYZ\n------END USER NKEY SEED------\n`]) {
      await writeFile(rubbish, text)
      const error = await refusal({ servers: users.url, credsFile: rubbish })
      expect(error.code).toBe('BAD_CREDENTIALS')
      expect(error.message).toContain('rubbish.creds')
      expect(error.message).not.toContain('SUXYZ')
    }
  })

  it('are cut from addresses that go into messages', () => {
    expect(withoutPassword('nats://ann:pa55word@host:4222')).toBe('nats://…@host:4222')
    expect(withoutPassword('ann:pa55word@host:4222')).not.toContain('pa55word')
    expect(withoutPassword('nats://ann:p@55/word@host:4222')).not.toContain('55/word')
    expect(withoutPassword('nats://host:4222')).toBe('nats://host:4222')
  })
})

const openssl = (() => {
  try {
    return execFileSync('openssl', ['version']).length > 0
  } catch {
    console.warn('TLS tests are skipped: no openssl on PATH to make certificates with')
    return false
  }
})()

describe.skipIf(!openssl)('a server that requires TLS', () => {
  let server: EmbeddedNats
  const at = (name: string) => join(folder, name)
  beforeAll(async () => {
    for (const name of ['server', 'stranger']) {
      const out = ['-keyout', at(`${name}.key`), '-out', at(`${name}.pem`), '-days', '2', '-subj', `/CN=${name}`]
      const names = ['-addext', 'subjectAltName=IP:127.0.0.1']
      execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...out, ...names], { stdio: 'ignore' })
    }
    server = await embeddedNats({
      probeMs: 0,
      extraConfig: `tls { cert_file: "${at('server.pem')}", key_file: "${at('server.key')}" }`,
    })
  })
  afterAll(() => server?.stop())

  it('lets a client in that trusts its certificate', async () => {
    await using bus = await connect({ servers: server.url, tls: { caFile: at('server.pem') } })
    await bus.flush()
  })

  it.each<[string, () => ConnectOptions]>([
    ['trusts only the system', () => ({})],
    ['asks for TLS and trusts only the system', () => ({ tls: true })],
    ['trusts another certificate', () => ({ tls: { caFile: at('stranger.pem') } })],
    ['is given a CA file that holds no certificate', () => ({ tls: { caFile: at('rubbish.creds') } })],
  ])('is TLS_FAILED for a client that %s', async (_, options) => {
    await writeFile(at('rubbish.creds'), 'rubbish')
    expect(await refusal({ servers: server.url, ...options() })).toMatchObject({ code: 'TLS_FAILED' })
  })

  it('is not needed to notice that a CA file is missing', async () => {
    const error = await refusal({ servers: server.url, tls: { caFile: at('none.pem') } })
    expect(error).toMatchObject({ code: 'FILE_NOT_FOUND' })
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
