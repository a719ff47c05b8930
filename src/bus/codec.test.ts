import { describe, expect, it } from 'vitest'
import { codecFor, codecs, MyelinError } from './internal.ts'

describe('codecs', () => {
  const value = { text: 'ünïted', list: [1, -2.5, null, true], nested: { empty: {} } }
  it.each(['json', 'msgpack'] as const)('%s brings values and their absence back', (name) => {
    const codec = codecs[name]
    for (const one of [value, 0, '', null, false, undefined]) expect(codec.decode(codec.encode(one))).toEqual(one)
    expect(codecFor(codec.contentType)).toBe(codec)
  })

  it('raw passes bytes through and takes nothing else', () => {
    const some = new Uint8Array([0, 255])
    expect(codecs.raw.decode(codecs.raw.encode(some))).toBe(some)
    expect(codecs.raw.encode(undefined).length).toBe(0)
    expect(() => codecs.raw.encode('text')).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
  })

  it.each(['json', 'msgpack'] as const)('%s calls malformed bytes MALFORMED_PAYLOAD', (name) => {
    for (const bad of name === 'json' ? [[0x7b], [0xff, 0xfe], [0]] : [[0xc1], [0xff, 0xfe], [0x92, 0x01]]) {
      expect(() => codecs[name].decode(new Uint8Array(bad))).toThrow(MyelinError)
      expect(() => codecs[name].decode(new Uint8Array(bad))).toThrow(
        expect.objectContaining({ code: 'MALFORMED_PAYLOAD' }),
      )
    }
  })

  it('are found by content type, whatever its case and parameters', () => {
    expect(codecFor(undefined)).toBe(codecs.json)
    expect(codecFor('Application/JSON; charset=utf-8')).toBe(codecs.json)
    expect(codecFor('application/cloudevents+json')).toBe(codecs.json)
    expect(() => codecFor('text/html')).toThrow(expect.objectContaining({ code: 'MALFORMED_PAYLOAD' }))
  })
})
