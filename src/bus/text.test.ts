import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { boundedText } from './internal.ts'

describe('a text that has to fit', () => {
  it('stays whole where it fits, else it keeps whole characters of its beginning and says so', () => {
    expect(boundedText('Zürich', 7)).toBe('Zürich')
    expect(boundedText('Zürich', 6)).toBe('Zü…')
    expect(boundedText('🛫🛬', 7)).toBe('🛫…')
    expect(boundedText('🛫🛬', 6)).toBe('…')
    expect(boundedText('abc', 2)).toBe('ab')
    const text = fc.string({ unit: 'grapheme', maxLength: 30 })
    fc.assert(
      fc.property(text, fc.nat(40), (whole, maxBytes) => {
        const cut = boundedText(whole, maxBytes)
        expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(maxBytes)
        expect(cut === whole || whole.startsWith(cut.replace(/…$/, ''))).toBe(true)
        expect(cut.isWellFormed()).toBe(true)
      }),
    )
  })
})
