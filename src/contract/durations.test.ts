import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Duration, durationMs } from './durations.ts'

const invalid = expect.objectContaining({ code: 'INVALID_CONTRACT' })

describe('a duration', () => {
  it('is as many milliseconds as its decimals say, to the last one', () => {
    expect(durationMs('1.005s', 'x')).toBe(1_005)
    expect(durationMs('4.35s', 'x')).toBe(4_350)
    expect(durationMs('2.587ms', 'x')).toBe(2.587)
    expect(durationMs('0.1h', 'x')).toBe(360_000)
    expect(durationMs('0.00000001d', 'x')).toBe(0.864)
    const units = { ms: 1n, s: 1_000n, m: 60_000n, h: 3_600_000n, d: 86_400_000n }
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 36_524n }),
        fc.bigInt({ min: 0n, max: 999n }),
        fc.constantFrom(...(Object.keys(units) as (keyof typeof units)[])),
        (whole, thousandths, unit) => {
          const text = `${whole}.${String(thousandths).padStart(3, '0')}${unit}` as Duration
          expect(durationMs(text, 'x')).toBe(Number((whole * 1_000n + thousandths) * units[unit]) / 1_000)
        },
      ),
    )
  })

  it('is nothing negative, endless, longer than a hundred years, or without a unit', () => {
    expect(durationMs('36525d', 'x')).toBe(3_155_760_000_000)
    for (const wrong of [
      -1,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      1e300,
      Number.MAX_SAFE_INTEGER,
      '36526d',
      '99999999999999999999d',
      '-1s',
      '1',
      '',
      's',
      '1e3s',
      '1 s',
      '1s ',
      '.5s',
      '1.s',
      '0x1s',
      '１s',
      `1.${'0'.repeat(1_000)}s`,
      true,
      null,
      {},
      5n,
    ]) // prettier-ignore
      expect(() => durationMs(wrong as Duration, 'where'), String(wrong)).toThrow(invalid)
    expect(() => durationMs('5 minutes' as Duration, 'job a.b')).toThrow(
      'job a.b: "5 minutes" is not a duration; write',
    )
  })
})
