import { CloudEvent, HTTP } from 'cloudevents'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeAttribute, payloadText, readEvent, readPayload } from './cloud-event.ts'
import { HeaderReader, headerLines } from './headers.ts'

const headersOf = (headers: Record<string, string>) => new HeaderReader(`NATS/1.0\r\n${headerLines(headers)}\r\n`)
const read = (headers: Record<string, string>, data: string | Uint8Array) =>
  readEvent(headersOf(headers), typeof data === 'string' ? Buffer.from(data) : data)
const structured = (event: object | string, type = 'application/cloudevents+json') =>
  read({ 'Content-Type': type }, typeof event === 'string' ? event : JSON.stringify(event))
const least = { specversion: '1.0', id: '7', source: '/x', type: 'x.y' }

describe("an event's attributes in headers", () => {
  it('are percent-encoded as the binding says, and come back as they were', () => {
    expect(encodeAttribute('Euro € 😀')).toBe('Euro%20%E2%82%AC%20%F0%9F%98%80') // its own example
    expect(encodeAttribute('café 100%')).toBe('caf%C3%A9%20100%25')
    expect(encodeAttribute('a%20b%25')).toBe('a%2520b%2525')
    expect(encodeAttribute('order-4711/~!')).toBe('order-4711/~!')
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (id) => {
        const encoded = encodeAttribute(id)
        expect(encoded).toMatch(/^[\x21-\x7e]+$/)
        expect(read({ 'ce-id': encoded }, '1').id).toBe(id)
      }),
    )
  })

  it('are read as older and other senders write them', () => {
    const id = (text: string) => read({ 'ce-id': text }, '1').id
    expect(id('caf%c3%a9%20%41')).toBe('café A')
    expect(id('"two words"')).toBe('two words')
    expect(id('"a \\"quote\\" and \\\\ %25"')).toBe('a "quote" and \\ %')
    expect(id('100% of 5%')).toBe('100% of 5%')
  })

  it.each([
    [{ 'ce-id': '%C0%A0' }, /no UTF-8/],
    [{ 'ce-id': '' }, /ce-id is empty/],
    [{ 'ce-time': 'gate 12' }, /time "gate 12"/],
    [{ 'ce-time': '2001-02-31T00:00:00Z' }, /time/],
    [{ 'ce-time': '2001-02-03T00:00:00' }, /time/],
    [{ 'ce-time': '' }, /time/],
  ])('are refused where they are none: %j', (headers, why) => {
    expect(() => read(headers as Record<string, string>, '1')).toThrow(why)
    for (const reads of [readEvent, readPayload, payloadText]) {
      for (const more of [{}, { 'content-type': 'application/json' }, { 'content-type': 'application/msgpack' }])
        expect(() => reads(headersOf({ ...more, ...headers } as Record<string, string>), Buffer.of(1))).toThrow(
          expect.objectContaining({ code: 'MALFORMED_PAYLOAD', message: expect.stringContaining('CloudEvent') }),
        )
    }
  })

  it('are taken or refused alike by those who want the payload alone', () => {
    const some = ['1', ' x', '', '"', '%', '%41', '%C0', 'é']
    const times = [
      '2026-01-02T03:04:05Z',
      '2026-01-29T03:04:05.6Z',
      '2024-02-29T03:04:05+02:00',
      '2026-02-29T00:00:00Z',
      '24',
      '',
    ]
    const taken = (reads: typeof readPayload, headers: Record<string, string>) => {
      try {
        reads(headersOf(headers), Buffer.from('1'))
        return true
      } catch {
        return false
      }
    }
    for (const id of [undefined, ...some]) {
      for (const time of [undefined, ...times]) {
        for (const [idName, timeName] of [
          ['ce-id', 'ce-time'],
          ['CE-ID', 'ce-time'],
          ['Ce-Id', 'Ce-Time'],
        ] as const) {
          const headers = {
            ...(id === undefined ? {} : { [idName]: id }),
            ...(time === undefined ? {} : { [timeName]: time }),
          }
          expect([headers, taken(readPayload, headers)]).toEqual([headers, taken(readEvent, headers)])
        }
      }
    }
  })

  it('say what the payload is where no content-type does', () => {
    expect(
      readPayload(headersOf({ 'ce-datacontenttype': 'application/json; charset=utf-8' }), Buffer.from('{"n":1}')),
    ).toEqual({ n: 1 })
    expect(
      readPayload(headersOf({ 'ce-datacontenttype': 'application/msgpack' }), Buffer.from([0x81, 0xa1, 0x6e, 1])),
    ).toEqual({ n: 1 })
    expect(readPayload(headersOf({}), Buffer.from('[1]'))).toEqual([1])
  })
})

describe('an event in structured mode', () => {
  it('is read as other libraries write it', () => {
    const event = new CloudEvent({
      id: 'é 7',
      source: '/x',
      type: 'x.y',
      time: '2026-01-02T03:04:05.678Z',
      data: { n: 1 },
    })
    const { headers, body } = HTTP.structured(event)
    expect(read(headers as Record<string, string>, body as string)).toEqual({
      payload: { n: 1 },
      id: 'é 7',
      time: '2026-01-02T03:04:05.678Z',
    })
    const binary = HTTP.structured(
      new CloudEvent({ ...least, datacontenttype: 'application/octet-stream', data: Uint8Array.of(1, 255) }),
    )
    expect(read(binary.headers as Record<string, string>, binary.body as string).payload).toEqual(Uint8Array.of(1, 255))
  })

  it.each(['application/cloudevents+json; charset=UTF-8', 'Application/CloudEvents+JSON', 'application/cloudevents'])(
    'is known by its content type: %s',
    (type) => {
      expect(structured({ ...least, data: { n: 2 } }, type)).toMatchObject({ payload: { n: 2 }, id: '7' })
    },
  )

  it('may hold any JSON, nothing, or bytes in base64', () => {
    expect(structured({ ...least, data: 'text' }).payload).toBe('text')
    expect(structured({ ...least, data: null }).payload).toBe(null)
    expect(structured(least).payload).toBe(undefined)
    const base64 = (text: string) => Buffer.from(text).toString('base64')
    expect(structured({ ...least, data_base64: base64('{"n":3}') }).payload).toEqual({ n: 3 })
    expect(structured({ ...least, datacontenttype: 'application/json', data_base64: base64('[3]') }).payload).toEqual([
      3,
    ])
    expect(structured({ ...least, datacontenttype: 'image/png', data_base64: 'AAEC' }).payload).toEqual(
      Uint8Array.of(0, 1, 2),
    )
  })

  it.each([
    ['no JSON', '{nope'],
    ['an array', '[]'],
    ['another version', { ...least, specversion: '0.3' }],
    ['an empty id', { ...least, id: '' }],
    ['no type', { ...least, type: undefined }],
    ['a number as its source', { ...least, source: 5 }],
    ['a time that is none', { ...least, time: 'yesterday' }],
    ['a day as its time', { ...least, time: '2026-01-02' }],
    ['data twice', { ...least, data: 1, data_base64: 'AA==' }],
    ['no base64', { ...least, data_base64: 'a b' }],
    ['JSON in base64 that is none', { ...least, datacontenttype: 'application/json', data_base64: 'AAEC' }],
  ])('is MALFORMED_PAYLOAD with %s', (_, event) => {
    expect(() => structured(event)).toThrow(expect.objectContaining({ code: 'MALFORMED_PAYLOAD' }))
  })

  it('is MALFORMED_PAYLOAD in another format, or as a batch, which the binding does not have', () => {
    for (const type of ['application/cloudevents-batch+json', 'application/cloudevents+avro'])
      expect(() => structured([least], type)).toThrow(/application\/cloudevents\+json is read/)
  })
})

describe("an event's payload as text", () => {
  it('is the message itself where that is JSON, and else what it stands for', () => {
    const data = Buffer.from('{ "n": 1 }')
    expect(payloadText(undefined, data)).toBe(data)
    expect(payloadText(headersOf({ 'content-type': 'application/json' }), data)).toBe(data)
    expect(payloadText(headersOf({ 'content-type': 'text/plain' }), data)).toBe(data)
    expect(payloadText(headersOf({ 'content-type': 'application/msgpack' }), Buffer.from([0x93, 1, 2, 3]))).toBe(
      '[1,2,3]',
    )
    const event = Buffer.from(JSON.stringify({ ...least, data: { n: 4 } }))
    expect(payloadText(headersOf({ 'content-type': 'application/cloudevents+json' }), event)).toBe('{"n":4}')
  })
})
