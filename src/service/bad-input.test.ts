import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { MyelinError, readHeaders } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { client, serve, service } from './index.ts'

const limit = 16 * 1024
const nats = withNats({ maxPayloadBytes: limit })
const text = z.object({ text: z.string() })
const large = { text: 'x'.repeat(2 * limit) }

const echo = contract('echo', {
  version: '1.0.0',
  endpoints: {
    say: { in: text, out: text },
    blow: { in: z.object({ bytes: z.number() }), out: text },
    claim: { in: text, out: text, claimCheck: true },
    broken: { in: z.object({}), out: text },
    soon: { in: z.object({}), out: text, errors: { TOO_SOON: z.object({ waitMs: z.number() }) } },
  },
})
let handled = 0
const echoService = service(echo, {
  say: (input) => {
    handled += 1
    return input
  },
  blow: ({ bytes }) => ({ text: 'y'.repeat(bytes) }),
  claim: ({ text }) => ({ text: text.toUpperCase() }),
  broken: () => {
    throw new Error('password hunter2 at /etc/secret.ts:1')
  },
  soon: (_, { fail }) => fail('TOO_SOON', { waitMs: 7 }),
})

const errorOf = (promise: Promise<unknown>): Promise<MyelinError> =>
  promise.then(
    () => Promise.reject(new Error('should have failed')),
    (error) => (error instanceof MyelinError ? error : Promise.reject(error)),
  )

/** A request made by hand: what comes back, untouched. */
async function ask(subject: string, payload: string, headerLines = '') {
  const reply = await nats.bus.request(subject, Buffer.from(payload), { headerLines })
  const headers = readHeaders(reply)
  return { code: headers.get('Myelin-Error-Code'), headers: headers.all(), body: reply.string() }
}

describe('a request that cannot be read', () => {
  it('is answered with MALFORMED_PAYLOAD when it is not JSON', async () => {
    await using _ = await serve(nats.bus, echoService)
    const before = handled
    for (const payload of ['{"text":', 'hello', '\u0000\u0001', '{"text":"a"}}']) {
      expect((await ask('svc.echo.say', payload)).code).toBe('MALFORMED_PAYLOAD')
    }
    expect(handled).toBe(before)
    expect((await ask('svc.echo.say', '{"text":"a"}')).body).toBe('{"text":"a"}')
  })

  it('is answered with MALFORMED_PAYLOAD when its content type is unknown or its MessagePack is cut short', async () => {
    await using _ = await serve(nats.bus, echoService)
    expect((await ask('svc.echo.say', '<a/>', 'content-type:text/xml\r\n')).code).toBe('MALFORMED_PAYLOAD')
    expect((await ask('svc.echo.say', '\u0081', 'content-type:application/msgpack\r\n')).code).toBe('MALFORMED_PAYLOAD')
  })

  it('is answered with INVALID_INPUT that names the fields when it does not fit the schema', async () => {
    await using _ = await serve(nats.bus, echoService)
    const error = await errorOf(client(nats.bus, echo).say({ text: 5 as never }))
    expect(error).toMatchObject({ code: 'INVALID_INPUT', retriable: false })
    expect(error.message).toContain('text')
    expect(await ask('svc.echo.say', '')).toMatchObject({ code: 'INVALID_INPUT' })
  })

  it('is not handled when its deadline had passed on arrival', async () => {
    await using _ = await serve(nats.bus, echoService)
    const before = handled
    const late = await ask('svc.echo.say', '{"text":"a"}', `Myelin-Deadline:${Date.now() - 1_000}\r\n`)
    expect(late.code).toBe('DEADLINE_EXCEEDED')
    expect(handled).toBe(before)
  })

  it('never leaves the caller when its deadline has passed there', async () => {
    await using running = await serve(nats.bus, echoService)
    expect(await codeOf(client(nats.bus, echo).say({ text: 'a' }, { deadline: Date.now() - 1 }))).toBe(
      'DEADLINE_EXCEEDED',
    )
    await nats.bus.flush()
    expect(running.stats?.()).toMatchObject({ calls: 0 })
  })
})

describe('a call to what is not there', () => {
  it('fails at once with NO_RESPONDERS: no service, or a service without this endpoint', async () => {
    expect(await codeOf(client(nats.bus, echo).say({ text: 'a' }))).toBe('NO_RESPONDERS')
    await using _ = await serve(nats.bus, echoService)
    const newer = contract('echo', { version: '2.0.0', endpoints: { shout: { in: text, out: text } } })
    expect(await codeOf(client(nats.bus, newer).shout({ text: 'a' }))).toBe('NO_RESPONDERS')
  })
})

describe('a reply', () => {
  const newer = contract('echo', {
    version: '2.0.0',
    endpoints: {
      say: { in: text, out: z.object({ text: z.string(), length: z.number() }) },
      soon: { in: z.object({}), out: text, errors: { TOO_SOON: z.object({ waitMs: z.string() }) } },
    },
  })

  it("that does not fit the caller's contract is INVALID_REPLY and names the field", async () => {
    await using _ = await serve(nats.bus, echoService)
    const error = await errorOf(client(nats.bus, newer).say({ text: 'a' }))
    expect(error.code).toBe('INVALID_REPLY')
    expect(error.message).toContain('length')
    expect(await client(nats.bus, newer, { checkReplies: false }).say({ text: 'a' })).toEqual({ text: 'a' })
  })

  it("is INVALID_REPLY when a declared error's data does not fit", async () => {
    await using _ = await serve(nats.bus, echoService)
    expect(await codeOf(client(nats.bus, newer).soon({}))).toBe('INVALID_REPLY')
    expect(await errorOf(client(nats.bus, echo).soon({}))).toMatchObject({ code: 'TOO_SOON', data: { waitMs: 7 } })
  })

  it('that is not JSON is MALFORMED_PAYLOAD', async () => {
    const strange = nats.bus.subscribe('svc.echo.say', ({ reply }) => nats.bus.publish(reply!, Buffer.from('{nope')))
    await nats.bus.flush()
    expect(await codeOf(client(nats.bus, echo).say({ text: 'a' }))).toBe('MALFORMED_PAYLOAD')
    strange.unsubscribe()
  })
})

describe("a payload over the server's limit", () => {
  it('is PAYLOAD_TOO_LARGE at the caller, with its size and the limit', async () => {
    await using running = await serve(nats.bus, echoService)
    const error = await errorOf(client(nats.bus, echo).say(large))
    expect(error).toMatchObject({ code: 'PAYLOAD_TOO_LARGE', data: { limit } })
    expect(running.stats?.()).toMatchObject({ calls: 0 })
  })

  it('is PAYLOAD_TOO_LARGE from the service when it is the reply', async () => {
    await using _ = await serve(nats.bus, echoService)
    const api = client(nats.bus, echo)
    expect(await codeOf(api.blow({ bytes: 2 * limit }))).toBe('PAYLOAD_TOO_LARGE')
    expect((await api.blow({ bytes: limit / 2 })).text.length).toBe(limit / 2)
  })

  it('is rejected, not lost, at every size around the limit', async () => {
    await using _ = await serve(nats.bus, echoService)
    const api = client(nats.bus, echo)
    for (let bytes = limit - 140; bytes <= limit + 20; bytes += 7) {
      expect(['none', 'PAYLOAD_TOO_LARGE']).toContain(await codeOf(api.blow({ bytes })))
      expect(['none', 'PAYLOAD_TOO_LARGE']).toContain(await codeOf(api.say({ text: 'x'.repeat(bytes) })))
    }
  })

  it('goes both ways through the object store where the endpoint has a claim check', async () => {
    await using _ = await serve(nats.bus, echoService)
    const api = client(await nats.connect(), echo)
    expect(await api.claim(large)).toEqual({ text: large.text.toUpperCase() })
    expect(await api.claim({ text: 'small' })).toEqual({ text: 'SMALL' })
  })

  it('is CLAIM_NOT_FOUND when what a claim refers to is gone', async () => {
    await using _ = await serve(nats.bus, echoService)
    for (const claim of ['MYELIN_CLAIMS/gone', 'OTHER/x', 'x']) {
      expect((await ask('svc.echo.claim', '', `Myelin-Claim:${claim}\r\n`)).code).toBe('CLAIM_NOT_FOUND')
    }
  })

  it('is not sent after a cancel that came while it was being stored', async () => {
    await using running = await serve(nats.bus, echoService)
    const abort = new AbortController()
    const call = client(nats.bus, echo).claim(large, { signal: abort.signal })
    abort.abort()
    expect(await codeOf(call)).toBe('CANCELLED')
    expect(running.stats?.()).toMatchObject({ calls: 0 })
  })
})

describe('what went wrong in a handler', () => {
  it('never reaches the caller: neither its message nor its stack', async () => {
    await using _ = await serve(nats.bus, echoService)
    const raw = await ask('svc.echo.broken', '{}')
    expect(raw.code).toBe('INTERNAL')
    expect(JSON.stringify(raw)).not.toMatch(/hunter2|secret|at .*:\d/)
    const error = await errorOf(client(nats.bus, echo).broken({}))
    expect(error).toMatchObject({ code: 'INTERNAL', retriable: false, data: undefined })
    expect(error.message).toBe('echo.broken failed')
  })

  it("arrives as INTERNAL when it is a nested service's declared error that this contract does not declare", async () => {
    const outer = contract('outer', {
      version: '1.0.0',
      endpoints: {
        plain: { in: z.object({}), out: text },
        declared: { in: z.object({}), out: text, errors: { TOO_SOON: z.object({ waitMs: z.number() }) } },
      },
    })
    await using _inner = await serve(nats.bus, echoService)
    await using _outer = await serve(
      nats.bus,
      service(outer, {
        plain: (_, { client }) => client(echo).soon({}),
        declared: (_, { client }) => client(echo).soon({}),
      }),
    )
    const api = client(nats.bus, outer)
    const hidden = await errorOf(api.plain({}))
    expect(hidden).toMatchObject({ code: 'INTERNAL', data: undefined })
    expect(hidden.message).not.toContain('TOO_SOON')
    // an error without a message of its own names who answered it
    expect(await errorOf(api.declared({}))).toMatchObject({ message: 'echo.soon answered TOO_SOON' })
    expect(await errorOf(api.declared({}))).toMatchObject({ code: 'TOO_SOON', data: { waitMs: 7 } })
  })
})

describe('a server killed in the middle of a call', () => {
  it('is DISCONNECTED and retriable for a call that is not idempotent, and later calls work again', async () => {
    const slow = contract('slow', {
      version: '1.0.0',
      endpoints: { wait: { in: z.object({ stay: z.boolean() }), out: z.number() } },
    })
    let calls = 0
    const stay = Promise.withResolvers<number>()
    await using _ = await serve(
      await nats.connect(),
      service(slow, {
        wait: (input) => {
          calls += 1
          return input.stay ? stay.promise : calls
        },
      }),
    )
    const api = client(nats.bus, slow)
    const call = errorOf(api.wait({ stay: true }, { timeoutMs: 3_000 }))
    await until(() => calls === 1)
    process.kill(nats.server.pid, 'SIGKILL')
    expect(await call).toMatchObject({ code: 'DISCONNECTED', retriable: true })
    await until(async () => (await codeOf(api.wait({ stay: false }, { timeoutMs: 500 }))) === 'none')
    stay.resolve(0)
    expect(calls).toBeGreaterThanOrEqual(2)
  })
})
