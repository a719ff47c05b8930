import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nkeys } from '@nats-io/nats-core'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Bus, type ConnectOptions, connect, type EmbeddedNats, embeddedNats } from './internal.ts'
import { withoutPassword } from './options.ts'

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
  folder = await mkdtemp(join(tmpdir(), 'myelin-credentials-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))
afterEach(() => vi.unstubAllEnvs())

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

  it('may be written into the address, as in NATS_URL', async () => {
    for (const url of [users.url.replace('//', '//ann:p%6155word@'), tokens.url.replace('//', '//s3cret@')]) {
      vi.stubEnv('NATS_URL', url)
      await using bus = await connect()
      await bus.flush()
      expect(bus.url).not.toContain('@')
    }
  })

  it('that the code gives win over those of the environment', async () => {
    const other = join(folder, 'other.creds')
    await writeFile(other, 'of somebody else')
    vi.stubEnv('NATS_CREDS', other)
    for (const options of [
      { servers: tokens.url, token: 's3cret' },
      { servers: users.url, user: 'ann', password: 'pa55word' },
      { servers: users.url, nkeySeed: seed },
      { servers: users.url.replace('//', '//ann:pa55word@') },
    ])
      expect(await refusal(options)).toMatchObject({ code: 'none' })
    expect(await refusal({ servers: users.url })).toMatchObject({ code: 'BAD_CREDENTIALS' })
    vi.stubEnv('NATS_URL', users.url.replace('//', '//wr0ng@'))
    for (const options of [{ user: 'ann', password: 'pa55word' }, { nkeySeed: seed }])
      expect(await refusal(options)).toMatchObject({ code: 'none' })
  })

  it('that cannot be an nkey seed are named as such without being repeated', async () => {
    const damaged = `${seed.slice(0, 30)}${seed[30] === 'A' ? 'B' : 'A'}${seed.slice(31)}`
    for (const bad of ['SUNOTASEED', seed.slice(0, -1), damaged]) {
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
    for (const text of [
      'rubbish',
      `${markers}-----BEGIN USER NKEY SEED-----\nSUXYZ\n------END USER NKEY SEED------\n`,
    ]) {
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
    expect(withoutPassword('nats://ann:p@55/w@host:4222')).toBe('nats://…@host:4222')
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
