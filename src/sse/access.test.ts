// Who gets in, over what, and how they are sent away.
import { execFile, execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { exportJWK, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listen } from '../../test/support/event-stream.ts'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { persist } from '../bus/internal.ts'
import { serve } from '../service/index.ts'
import { ensureView, view } from '../stream/index.ts'
import { createLogger } from '../unit/internal.ts'
import { fromView, sseGateway } from './index.ts'

const nats = withNats()
const rooms = view('rooms', { key: 'room' })
const streams = {
  rooms: fromView(rooms),
  'flights.late': fromView(view('late', { key: 'origin' })),
}

beforeAll(() => ensureView(nats.bus, rooms))

async function start(config: Record<string, unknown> = {}, log = createLogger()) {
  const unit = await serve(nats.bus, sseGateway({ streams }), { config: { port: 0, ...config } as never, log })
  const port = unit.stats!().port!
  return { unit, port, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => unit.drain() }
}
const put = (room: string, value: number) =>
  persist(nats.bus, `view.rooms.${room}`, Buffer.from(JSON.stringify({ room, value })), {
    deadline: Date.now() + 5_000,
  })

async function statusAndCode(url: string, headers: Record<string, string> = {}) {
  const response = await fetch(url, { headers })
  const { code } = (await response.json()) as { code: string }
  return `${response.status} ${code}`
}

describe('tokens', () => {
  const secret = 'a secret of at least thirty-two letters'
  const sign = (claims: Record<string, unknown>, key = secret, expires: string | number = '1h') =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime(expires)
      .sign(new TextEncoder().encode(key))
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

  it('open the streams and keys they name, in the header or a cookie', async () => {
    await put('a', 1)
    await put('b', 2)
    await using at = await start({ auth: { secret, cookie: 'session' } })
    const url = `${at.url}/streams/rooms`
    const token = await sign({ streams: ['rooms', 'flights.*'], keys: ['a', 'c'] })
    expect(await statusAndCode(url)).toBe('401 UNAUTHENTICATED')
    expect(await statusAndCode(url, bearer(await sign({ streams: ['others', 'flights.>'] })))).toBe('403 FORBIDDEN')
    expect(await statusAndCode(url, bearer(await sign({})))).toBe('403 FORBIDDEN')
    expect(await statusAndCode(`${url}?key=b`, bearer(token))).toBe('403 FORBIDDEN')
    expect(await statusAndCode(url, bearer(await sign({ streams: ['rooms'], keys: 'a' })))).toBe('403 FORBIDDEN')
    const own = listen(url, { cookie: `x=1; session=${token}` })
    const other = listen(`${at.url}/streams/flights.late`, bearer(token))
    await until(() => own.events.length === 1 && other.state.status === 200)
    await put('b', 3)
    await put('a', 4)
    await until(() => own.events.length === 2)
    expect(own.events.map(({ data }) => data)).toEqual(['{"room":"a","value":1}', '{"room":"a","value":4}'])
    own.close()
    other.close()
  })

  it('that are forged, expired, for somebody else or no tokens at all are rejected, and never logged', async () => {
    const lines: string[] = []
    nats.bus.subscribe('log.>', (message) => lines.push(message.string()))
    const log = createLogger({ unit: 'sse', instance: 'one' }, { bus: nats.bus, site: 'here' })
    await using at = await start({ auth: { secret, audience: 'board', issuer: 'me' } }, log)
    const url = `${at.url}/streams/rooms`
    const claims = { streams: ['>'], aud: 'board', iss: 'me' }
    const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`
    const [head, , signature] = (await sign({ ...claims, streams: ['other'] })).split('.')
    const tampered = [head, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.')
    const invalid = {
      forged: await sign(claims, 'another secret of thirty-two letters'),
      expired: await sign(claims, secret, Math.floor(Date.now() / 1_000) - 10),
      elsewhere: await sign({ ...claims, aud: 'other' }),
      unsigned,
      tampered,
      nonsense: 'nonsense',
    }
    const messages: Record<string, string> = {}
    for (const [name, token] of Object.entries(invalid)) {
      const response = await fetch(url, { headers: bearer(token) })
      expect(response.status).toBe(401)
      const body = await response.text()
      expect(JSON.parse(body).code).toBe('UNAUTHENTICATED')
      expect(body).not.toContain(token)
      messages[name] = JSON.parse(body).message
    }
    expect(messages).toEqual({
      forged: "the token's signature is not genuine",
      expired: 'the token has expired',
      elsewhere: 'the token\'s claim "aud" is not what it must be',
      unsigned: 'the token is signed by an algorithm that is not allowed here',
      tampered: "the token's signature is not genuine",
      nonsense: 'what was sent is no token (JWT)',
    })
    const good = listen(url, bearer(await sign(claims)))
    await until(() => good.state.status === 200)
    good.close()
    await until(() => lines.some((line) => line.includes('listening')))
    for (const token of Object.values(invalid)) expect(lines.join('')).not.toContain(token)
  })

  it('end the connection when they expire', async () => {
    await using at = await start({ auth: { secret, clockToleranceMs: 0 } })
    const token = await sign({ streams: ['rooms'] }, secret, Math.floor(Date.now() / 1_000) + 2)
    const browser = listen(`${at.url}/streams/rooms`, bearer(token))
    await until(() => browser.state.status === 200)
    expect(browser.state.ended).toBe(false)
    await until(() => browser.state.ended)
    expect(await statusAndCode(`${at.url}/streams/rooms`, bearer(token))).toBe('401 UNAUTHENTICATED')
  })

  it('of an issuer whose clock is a few seconds ahead are taken, as far as clockToleranceMs goes', async () => {
    const soon = Math.floor(Date.now() / 1_000) + 4
    const token = await new SignJWT({ streams: ['rooms'] })
      .setProtectedHeader({ alg: 'HS256' })
      .setNotBefore(soon)
      .setExpirationTime('1h')
      .sign(new TextEncoder().encode(secret))
    await using lenient = await start({ auth: { secret } })
    const browser = listen(`${lenient.url}/streams/rooms`, bearer(token))
    await until(() => browser.state.status === 200)
    browser.close()
    await using strict = await start({ auth: { secret, clockToleranceMs: 0 } })
    const response = await fetch(`${strict.url}/streams/rooms`, { headers: bearer(token) })
    expect([response.status, ((await response.json()) as { message: string }).message]).toEqual([
      401,
      expect.stringContaining('not valid yet'),
    ])
  })

  it('are taken after the issuer has changed its key, and without saying which key it was', async () => {
    const pair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const [old, current] = [pair(), pair()]
    const published = [{ ...(await exportJWK(old.publicKey)), kid: 'old', alg: 'ES256' }]
    const issuer = createServer((_request, response) =>
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: published })),
    )
    await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve))
    const jwksUrl = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/keys`
    const signed = (key: typeof old, kid?: string) =>
      new SignJWT({ streams: ['rooms'] })
        .setProtectedHeader({ alg: 'ES256', ...(kid ? { kid } : {}) })
        .sign(key.privateKey)
    const statusOf = async (url: string, token: string) => {
      const browser = listen(`${url}/streams/rooms`, bearer(token))
      await until(() => browser.state.status !== 0)
      browser.close()
      return browser.state.status
    }
    await using at = await start({ auth: { jwksUrl, jwksCooldownMs: 200 } })
    expect(await statusOf(at.url, await signed(old, 'old'))).toBe(200)
    published.push({ ...(await exportJWK(current.publicKey)), kid: 'new', alg: 'ES256' })
    const token = await signed(current, 'new')
    await new Promise((resolve) => setTimeout(resolve, 250)) // the cooldown
    expect(await statusOf(at.url, token)).toBe(200)
    expect(await statusOf(at.url, await signed(old))).toBe(200)
    expect(await statusOf(at.url, await signed(current))).toBe(200)
    const stranger = await fetch(`${at.url}/streams/rooms`, { headers: bearer(await signed(pair(), 'other')) })
    expect([stranger.status, ((await stranger.json()) as { message: string }).message]).toEqual([
      401,
      'the token is signed with a key that its issuer does not publish',
    ])
    issuer.close()
  })

  it('may be signed with a private key, whose public half is in the config or at the issuer', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const token = await new SignJWT({ streams: ['rooms'] })
      .setProtectedHeader({ alg: 'ES256', kid: '1' })
      .sign(privateKey)
    const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: '1', alg: 'ES256' }] }
    const issuer = createServer((_request, response) =>
      response.setHeader('content-type', 'application/json').end(JSON.stringify(keys)),
    )
    await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve))
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
    const jwksUrl = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/keys`
    for (const auth of [{ publicKey: pem, algorithms: ['ES256'] }, { jwksUrl }]) {
      await using at = await start({ auth })
      const browser = listen(`${at.url}/streams/rooms`, bearer(token))
      await until(() => browser.state.status === 200)
      browser.close()
      // the public key is no secret: a token signed with it as one must not pass
      expect(await statusAndCode(`${at.url}/streams/rooms`, bearer(await sign({ streams: ['rooms'] }, pem)))).toBe(
        '401 UNAUTHENTICATED',
      )
    }
    issuer.close()
    expect(await codeOf(start({ auth: { publicKey: 'nonsense' } }))).toBe('INVALID_CONFIG')
    expect(await codeOf(start({ auth: {} }))).toBe('INVALID_CONFIG')
  })
})

describe('limits and origins', () => {
  it('reject too many of one address, as the proxy names it', async () => {
    await using at = await start({ maxClientsPerAddress: 1, trustProxy: true })
    const from = (address: string) => ({ 'x-forwarded-for': address })
    const first = listen(`${at.url}/streams/rooms`, from('10.0.0.1'))
    await until(() => at.unit.stats!().clients === 1)
    expect(await statusAndCode(`${at.url}/streams/rooms`, from('10.0.0.1'))).toBe('429 TOO_MANY_CONNECTIONS')
    const second = listen(`${at.url}/streams/rooms`, from('10.0.0.2'))
    await until(() => at.unit.stats!().clients === 2)
    first.close()
    second.close()
    await until(() => at.unit.stats!().clients === 0)
    const again = listen(`${at.url}/streams/rooms`, from('10.0.0.1'))
    await until(() => at.unit.stats!().clients === 1)
    again.close()
  })

  it('let other origins in that are named, with cookies if so said', async () => {
    await using at = await start({ cors: ['https://a.example', 'https://b.example'], corsCredentials: true })
    const headersFor = async (origin: string, method = 'GET', path = '/streams/none') =>
      (await fetch(at.url + path, { method, headers: { origin } })).headers
    expect((await headersFor('https://b.example')).get('access-control-allow-origin')).toBe('https://b.example')
    expect((await headersFor('https://b.example')).get('access-control-allow-credentials')).toBe('true')
    expect((await headersFor('https://c.example')).get('access-control-allow-origin')).toBeNull()
    const preflight = await headersFor('https://a.example', 'OPTIONS', '/streams/rooms')
    expect(preflight.get('access-control-allow-headers')).toContain('authorization')
    const browser = listen(`${at.url}/streams/rooms`, { origin: 'https://a.example' })
    await until(() => browser.state.status === 200)
    expect(browser.state.headers['access-control-allow-origin']).toBe('https://a.example')
    browser.close()
    expect(await codeOf(start({ cors: '*', corsCredentials: true }))).toBe('INVALID_CONFIG')
  })
})

describe('the wire', () => {
  const folder = mkdtempSync(join(tmpdir(), 'myelin-tls-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  it('is HTTP/2 for clients that offer it over TLS, HTTP/1.1 for the others', async () => {
    const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    execFileSync('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
      ...['-subj', '/CN=localhost', '-keyout', keyFile, '-out', certFile],
    ], { stdio: 'ignore' }) // biome-ignore format: as one would type it
    await put('h2', 1)
    await using at = await start({ tls: { certFile, keyFile } })
    const session = connectHttp2(`https://127.0.0.1:${at.port}`, { rejectUnauthorized: false })
    let text = ''
    const request = session.request({ ':path': '/streams/rooms?key=h2' })
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => {
      text += chunk
    })
    await until(() => text.includes('"value":1'))
    await put('h2', 2)
    await until(() => text.includes('"value":2'))
    const curl = promisify(execFile)
    const one = await curl('curl', [
      '-skN',
      '--http1.1',
      '--max-time',
      '1',
      `https://127.0.0.1:${at.port}/streams/rooms?key=h2`,
    ]).catch((error) => error as { stdout: string })
    expect(one.stdout).toContain('"value":2')
    const done = new Promise((resolve) => request.on('close', resolve))
    await at.unit.drain()
    await done
    session.close()
    expect(await codeOf(start({ tls: { certFile: '/nowhere', keyFile } }))).toBe('FILE_NOT_FOUND')
  })

  it('is gzip for who accepts it: curl reads every event as it comes', async () => {
    await using at = await start()
    const url = `${at.url}/streams/rooms?key=zip`
    const curl = execFile('curl', ['-sN', '--compressed', '--max-time', '20', '-D', '-', url])
    let text = ''
    curl.stdout!.on('data', (chunk) => {
      text += chunk
    })
    await until(() => at.unit.stats!().clients === 1)
    for (let value = 0; value < 50; value++) {
      await put('zip', value)
      await until(() => text.includes(`{"room":"zip","value":${value}}`))
    }
    expect(text).toMatch(/content-encoding: gzip/i)
    expect(text.match(/^data: /gm)!.length).toBe(50)
    expect(at.unit.stats!().bytes).toBeLessThan(text.length * 0.8)
    curl.kill()
    const plain = listen(url, { 'accept-encoding': 'br, gzip;q=0' })
    await until(() => plain.events.length === 1)
    expect(plain.state.headers['content-encoding']).toBeUndefined()
    plain.close()
  })
})

describe('metrics and draining', () => {
  it('exposes to Prometheus what it does, by stream', async () => {
    await using at = await start()
    const browser = listen(`${at.url}/streams/rooms?key=counted`)
    await until(() => at.unit.stats!().clients === 1)
    await put('counted', 1)
    await until(() => browser.events.length === 1)
    await statusAndCode(`${at.url}/streams/none`)
    const text = await (await fetch(`${at.url}/metrics`)).text()
    expect(text).toContain('myelin_sse_clients{stream="rooms"} 1')
    expect(text).toContain('myelin_sse_delivered_total{stream="rooms"} 1')
    expect(text).toContain('myelin_sse_dropped_total{stream="flights.late"} 0')
    expect(text).toContain('myelin_sse_rejected_total{code="STREAM_NOT_FOUND"} 1')
    expect(text).toMatch(/myelin_sse_bytes_total\{stream="rooms"\} \d{2}/)
    browser.close()
  })

  it('sends clients elsewhere, and answers new ones with 503 while it drains', async () => {
    const at = await start({ moveTo: 'https://other.example/streams', drainMs: 500 })
    const browser = listen(`${at.url}/streams/rooms?key=none`)
    await until(() => at.unit.stats!().clients === 1)
    const drained = at.unit.drain()
    await until(() => browser.state.ended)
    expect(browser.events).toEqual([{ id: undefined, event: 'move', data: '{"url":"https://other.example/streams"}' }])
    expect(browser.state.text).toMatch(/retry: \d+\nevent: move\n/)
    const response = await fetch(`${at.url}/streams/rooms`)
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
    expect(((await response.json()) as { code: string }).code).toBe('DRAINING')
    await drained
    await expect(fetch(`${at.url}/streams/rooms`)).rejects.toThrow()
  })
})
