import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseTime } from './time.ts'

const iso = (value: unknown) => {
  const ms = parseTime(value)
  return ms === undefined ? undefined : new Date(ms).toISOString()
}

describe('a time', () => {
  it('is what RFC 3339 says, in any zone', () => {
    for (const [text, is] of [
      ['2001-07-01T12:00:00Z', '2001-07-01T12:00:00.000Z'],
      ['2001-07-01t12:00:00z', '2001-07-01T12:00:00.000Z'],
      ['2001-07-01T12:00:00+02:00', '2001-07-01T10:00:00.000Z'],
      ['2001-07-01T12:00:00-23:59', '2001-07-02T11:59:00.000Z'],
      ['2001-07-01T12:00:00-00:00', '2001-07-01T12:00:00.000Z'],
      ['2001-07-01T12:00Z', '2001-07-01T12:00:00.000Z'],
      ['2000-02-29', '2000-02-29T00:00:00.000Z'],
      ['0000-01-01T00:00:00Z', '0000-01-01T00:00:00.000Z'],
      ['0099-12-31', '0099-12-31T00:00:00.000Z'],
      ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
    ])
      expect(iso(text), text).toBe(is)
  })

  it('is cut to milliseconds, towards the past', () => {
    expect(iso('2001-07-01T12:00:00.1Z')).toBe('2001-07-01T12:00:00.100Z')
    expect(iso('2001-07-01T12:00:00.98765432109876543210Z')).toBe('2001-07-01T12:00:00.987Z')
    expect(iso('1969-12-31T23:59:59.9999Z')).toBe('1969-12-31T23:59:59.999Z')
    expect(parseTime(1.9)).toBe(1)
    expect(parseTime(-1.5)).toBe(-2)
    expect(Object.is(parseTime(-0), 0)).toBe(true)
  })

  it('may be a leap second, where there are any: it is the moment after it', () => {
    expect(iso('1998-12-31T23:59:60Z')).toBe('1999-01-01T00:00:00.000Z')
    expect(iso('1998-12-31T15:59:60.123-08:00')).toBe('1999-01-01T00:00:00.123Z')
    for (const text of [
      '1998-12-31T23:58:60Z',
      '1998-12-31T22:59:60Z',
      '1998-12-31T23:59:60-08:00',
      '1998-12-30T23:59:60Z',
      '1998-12-31T23:59:61Z',
    ])
      expect(parseTime(text), text).toBeUndefined()
  })

  it('is nothing that has to be guessed', () => {
    for (const value of [
      'gate 12',
      'zzz 3',
      '',
      ' ',
      '12',
      '2021',
      '2021-02',
      '20210203',
      '1700000000000',
      '2021-02-31',
      '2021-02-29',
      '1900-02-29',
      '2021-13-01',
      '2021-00-01',
      '2021-01-00',
      '2021-1-1',
      '2024-03-10T02:30:00',
      '2024-03-10T02:30',
      '2024-03-10T',
      '2024-03-10T02Z',
      '2024-03-10 02:30:00Z',
      '2024-03-10T24:00:00Z',
      '2024-03-10T02:60:00Z',
      '2024-03-10T02:30:00.Z',
      '2024-03-10T02:30:00,5Z',
      '2024-03-10T02:30:00+0100',
      '2024-03-10T02:30:00+01',
      '2024-03-10T02:30:00+24:00',
      '2024-03-10T02:30:00Z+01:00',
      '2024-03-10T02:30:00ZZ',
      '2024-03-10T02:30:00Z ',
      ' 2024-03-10T02:30:00Z',
      '2024-03-10T02:30:00Z\n',
      '2024-03-10Z',
      '2024-03-10T02:30:00 UTC',
      '2024-W10-7',
      '2024-070T02:30:00Z',
      '+010000-01-01',
      '10000-01-01T00:00:00Z',
      '-000001-01-01',
      '２０２４-03-10',
      'Sun, 10 Mar 2024 02:30:00 GMT',
      Number.NaN,
      Number.POSITIVE_INFINITY,
      8.64e15 + 1,
      -(2 ** 63),
      new Date('no'),
      null,
      undefined,
      true,
      5n,
      {},
      [],
      [2024],
      ['2024-03-10'],
      { getTime: () => 0 },
    ]) // prettier-ignore
      expect(parseTime(value), String(value)).toBeUndefined()
  })

  it('is the same as a number, as a Date and as a text', () => {
    const of = fc.integer({ min: Date.UTC(0, 0, 1) - 1_900 * 365 * 86_400_000, max: Date.UTC(9999, 11, 31) })
    fc.assert(
      fc.property(of, (ms) => {
        expect(parseTime(ms)).toBe(ms)
        expect(parseTime(new Date(ms))).toBe(ms)
        expect(parseTime(new Date(ms).toISOString())).toBe(ms)
      }),
    )
    expect(parseTime(8.64e15)).toBe(8.64e15)
    expect(parseTime(-8.64e15)).toBe(-8.64e15)
  })

  it('agrees with the calendar about every day that there is', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 9_999 }),
        fc.integer({ min: 0, max: 13 }),
        fc.integer({ min: 0, max: 32 }),
        (year, month, day) => {
          const text = `${String(year).padStart(4, '0')}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`
          const real = new Date(0)
          real.setUTCFullYear(year, month - 1, day)
          const exists = month >= 1 && month <= 12 && real.getUTCMonth() === month - 1 && real.getUTCDate() === day
          expect(parseTime(text)).toBe(exists ? real.getTime() : undefined)
        },
      ),
      { numRuns: 2_000 },
    )
  })
})
