import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { withNats } from '../../test/support/nats.ts'
import { contract } from '../contract/internal.ts'
import { serve, service } from './index.ts'

const nats = withNats()
const script = fileURLToPath(new URL('../../examples/raw-socket/call.mjs', import.meta.url))

/** Runs the example, a program without any library, and brings what it printed. */
const run = (...args: string[]) =>
  new Promise<{ code: number; out: string; err: string }>((resolve) => {
    execFile(process.execPath, [script, ...args], { maxBuffer: 8 * 1024 * 1024 }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    )
  })

const airports = contract('airports', {
  version: '1.0.0',
  endpoints: {
    get: {
      in: z.object({ iata: z.string() }),
      out: z.object({ iata: z.string(), city: z.string() }),
      errors: { UNKNOWN: z.object({ iata: z.string() }) },
    },
    large: { in: z.object({ characters: z.number() }), out: z.string() },
  },
})
const airportsService = service(airports, {
  get: ({ iata }, { fail }) => {
    if (iata === 'XXX') throw new Error('secret detail')
    return iata === 'ZRH' ? { iata, city: 'Zürich ✈' } : fail('UNKNOWN', { iata }, `no airport "${iata}"`)
  },
  large: ({ characters }) => 'ü'.repeat(characters),
})

describe('a client that is nothing but a socket', () => {
  it('calls an endpoint with JSON and gets JSON', async () => {
    await using _ = await serve(nats.bus, airportsService)
    const { code, out, err } = await run(nats.server.url, 'svc.airports.get', '{"iata":"ZRH"}')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(JSON.parse(out)).toEqual({ iata: 'ZRH', city: 'Zürich ✈' })
  })

  it('gets a reply of many packets whole', async () => {
    await using _ = await serve(nats.bus, airportsService)
    const { out } = await run(nats.server.url, 'svc.airports.large', '{"characters":300000}')
    expect(JSON.parse(out)).toBe('ü'.repeat(300_000))
  })

  it('gets the two error headers of the service API, the code in a third, and the error as JSON', async () => {
    await using _ = await serve(nats.bus, airportsService)
    const { code, out, err } = await run(nats.server.url, 'svc.airports.get', '{"iata":"ABC"}')
    expect({ code, out }).toEqual({ code: 1, out: '' })
    const [headers = '', body = ''] = err.split(/\r?\n\r?\n/)
    expect(headers.split('\r\n')).toEqual([
      'NATS/1.0',
      'Nats-Service-Error:no airport "ABC"',
      'Nats-Service-Error-Code:422',
      'Myelin-Error-Code:UNKNOWN',
    ])
    expect(JSON.parse(body)).toEqual({ code: 'UNKNOWN', message: 'no airport "ABC"', data: { iata: 'ABC' } })
  })

  it('learns of invalid input, of a failed handler without its cause, and that nobody answers', async () => {
    await using _ = await serve(nats.bus, airportsService)
    const [malformed, invalid, broken, nobody] = await Promise.all([
      run(nats.server.url, 'svc.airports.get', '{nope'),
      run(nats.server.url, 'svc.airports.get', '{"iata":5}'),
      run(nats.server.url, 'svc.airports.get', '{"iata":"XXX"}'),
      run(nats.server.url, 'svc.airports.none', '{}'),
    ])
    expect(malformed.err).toContain('Myelin-Error-Code:MALFORMED_PAYLOAD')
    expect(invalid.err).toContain('Myelin-Error-Code:INVALID_INPUT')
    expect(broken.err).toContain('Myelin-Error-Code:INTERNAL')
    expect(broken.err).not.toContain('secret detail')
    expect(nobody.err).toContain('nobody answers on svc.airports.none')
    for (const { code } of [malformed, invalid, broken, nobody]) expect(code).toBe(1)
  })
})
