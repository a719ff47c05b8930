import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { contract } from '../contract/internal.ts'
import { client, serve, service } from '../service/index.ts'
import { type HeaderReader, header, headerLine, headerLines, readHeaders, textHeaderLine } from './internal.ts'

/** Reads header lines as if they had come. */
function read(lines: string): HeaderReader {
  const bytes = Buffer.from(`NATS/1.0\r\n${lines}\r\n`)
  return readHeaders({ _rdata: bytes, _msg: { hdr: bytes.length } } as never)
}

const refused = expect.objectContaining({ code: 'INVALID_OPTION' })

describe('headers', () => {
  it('refuse line breaks in names and values: they would be headers of their own', () => {
    for (const forged of ['a\r\nNats-Msg-Id: stolen', 'a\nb', 'a\rb', '\r\n', 'a\r\n\r\nbody'])
      expect(() => headerLine('note', forged)).toThrow(refused)
    for (const name of ['', 'a b', 'a:b', 'a\r\nb', 'a\nb', 'ä', 'a\t'])
      expect(() => headerLines({ [name]: 'x' })).toThrow(refused)
    // what others' errors say is for people to read
    expect(read(textHeaderLine('error', 'a\r\nforged: yes\nand\rmore')).all()).toEqual({
      error: 'a forged: yes and more',
    })
  })

  it('are found whatever capitals they are written in and whatever the others hold', () => {
    const lines = 'X-City:İzmir, İİİİ\r\nCE-ID:order-4711\r\nMyelin-TENANT:İİ a\r\nKELVIN:\u212A 300\r\n'
    expect(read(lines).get('ce-id')).toBe('order-4711')
    expect(read(lines).get('myelin-tenant')).toBe('İİ a')
    expect(read(lines).get('kelvin')).toBe('\u212A 300')
    const text = fc.string({
      unit: fc.constantFrom('İ', 'I', 'ß', 'ﬃ', 'Σ', '\u212A', 'a', ' ', ':', '🛫'),
      maxLength: 12,
    })
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 6 }), (values) => {
        const all = values.map((value, i) => `X-Name-${i}:${value}\r\n`).join('')
        for (const [i, value] of values.entries()) expect(read(all).get(`x-nAME-${i}`)).toBe(value.trim())
      }),
    )
  })

  it('that a raw client sent with half a line break are one line each', () => {
    const headers = read('a: 1\nb: 2\r\nA: 3\r\n')
    expect([headers.get('a'), headers.get('b'), headers.values('a')]).toEqual(['1', '2', ['1', '3']])
  })
})

describe('a value that somebody gives', () => {
  const nats = withNats()
  const shop = contract('shop', {
    version: '1.0.0',
    endpoints: { get: { in: z.object({}), out: z.record(z.string(), z.string()) } },
    events: {
      reported: { payload: z.object({}) },
      sold: { payload: z.object({}), durable: true },
    },
    jobs: { pack: { payload: z.object({}) } },
  })
  const forged = 'x\r\nNats-Msg-Id: stolen'

  it('forges no header, as id, time, tenant, caller or header of a call', async () => {
    await using _ = await serve(
      nats.bus,
      service(shop, { get: (_, { headers }) => headers.all(), pack: () => undefined }),
    )
    const api = client(nats.bus, shop)
    for (const id of [forged, '', ' padded', 'a\u0000']) {
      expect(await codeOf(api.reported.publish({}, { id }))).toBe('INVALID_OPTION')
      expect(await codeOf(api.sold.publish({}, { id }))).toBe('INVALID_OPTION')
      expect(await codeOf(api.pack.enqueue({}, { id }))).toBe('INVALID_OPTION')
    }
    expect(await codeOf(api.sold.publish({}, { time: `2026-01-01T00:00:00Z${forged}` }))).toBe('INVALID_OPTION')
    expect(await codeOf(api.get({}, { headers: { note: forged } }))).toBe('INVALID_OPTION')
    expect(await codeOf(api.get({}, { headers: { [forged]: 'x' } }))).toBe('INVALID_OPTION')
    expect(() => client(nats.bus, shop, { tenant: forged })).toThrow(refused)
    expect(() => client(nats.bus, shop, { caller: forged })).toThrow(refused)
    const reported = await api.get({}, { headers: { note: 'İ' } })
    expect(reported).toMatchObject({ note: 'İ' })
    expect(Object.keys(reported)).not.toContain('Nats-Msg-Id')
  })

  it('in the text of an error is told in one line, and in a tenant that a raw client sends goes no further', async () => {
    const failing = contract('failing', {
      version: '1.0.0',
      endpoints: { get: { in: z.object({}), out: z.string(), errors: { NO: z.object({}) } } },
    })
    const unit = service(failing, { get: (_, { fail }) => fail('NO', {}, `two\r\n${header.claim}: lines`) })
    await using _ = await serve(nats.bus, unit)
    let lines: Record<string, string> = {}
    const inbox = nats.bus.subscribe('heard', (message) => {
      lines = readHeaders(message).all()
    })
    nats.bus.publish('svc.failing.get', Buffer.from('{}'), '', 'heard')
    await until(() => lines[header.error] !== undefined)
    expect(lines[header.error]).toBe(`two ${header.claim}: lines`)
    expect(lines[header.claim]).toBeUndefined()
    inbox.unsubscribe()
  })
})
