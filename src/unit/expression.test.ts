import fc from 'fast-check'
import jsonata from 'jsonata'
import { describe, expect, it } from 'vitest'
import { codeOf } from '../../test/support/nats.ts'
import { compile, problemOf, truthy } from './expression.ts'

const names = fc.constantFrom('a', 'b', 'c')
const documents = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, 0, 1, '', 'x', true, false),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(names, tie('value'), { maxKeys: 3 }),
  ),
})).value
const plainJson = (value: unknown) => (value === undefined ? 'nothing' : JSON.stringify(value))

describe('an expression', () => {
  it('that is a field path reads what JSONata reads', async () => {
    const paths = fc.array(names, { minLength: 1, maxLength: 3 }).map((steps) => steps.join('.'))
    await fc.assert(
      fc.asyncProperty(paths, documents, async (path, document) => {
        const { plain } = await compile('path', path)
        expect(plainJson(plain!(document))).toBe(plainJson(await jsonata(path).evaluate(document)))
      }),
      { numRuns: 3_000 },
    )
  })

  it('is true when JSONata says so', async () => {
    await fc.assert(
      fc.asyncProperty(documents, async (document) => {
        const boolean = await jsonata('$boolean(value)').evaluate({ value: document })
        expect(truthy(document)).toBe(boolean ?? false)
      }),
      { numRuns: 1_000 },
    )
  })

  it('that fails says which it was and why', async () => {
    const { plain, evaluate } = await compile('aggregate.late.share', 'delay > "late"')
    expect(plain).toBeUndefined()
    await expect(evaluate!({ delay: 'x' })).resolves.toBe(true)
    await expect(evaluate!({ delay: 3 })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringMatching(/^aggregate\.late\.share: .*\(in delay > "late"\)$/),
    })
    expect(await codeOf((await compile('map', '$sum')).evaluate!({}))).toBe('INVALID_INPUT')
  })

  it('has an end, whatever it is', { timeout: 20_000 }, async () => {
    for (const [text, value] of [
      ['($f := function($n) { $f($n + 1) }; $f(1))', {}],
      ['($f := function($n) { 1 + $f($n + 1) }; $f(1))', {}],
      ['$sum([1..1000000])', {}],
      ['[1..100000000]', {}],
    ] as const) {
      expect(await codeOf((await compile('map', text)).evaluate!(value)), text).toBe('INVALID_INPUT')
    }
  })

  it('that is none, or would not give the same again, is refused', async () => {
    expect(await problemOf('delay > ')).toMatch(/not an expression: .*\(in delay > \)/)
    expect(await problemOf('{"at": $now(), "x": 1}')).toMatch(/^\$now tells when it is evaluated/)
    for (const text of ['$millis()', 'a[$random() < 0.5]', '$map(a, $shuffle)', '$eval("$no" & "w()")'])
      expect(await problemOf(text), text).toMatch(/replay/)
    for (const text of ['a.b', 'delay > 15', '$lowercase(a)', 'now', 'true', '`a b`.c'])
      expect(await problemOf(text), text).toBeUndefined()
  })
})
