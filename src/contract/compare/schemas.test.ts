import { Ajv } from 'ajv'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { jsonSchemaOf } from '../json-schema.ts'
import { type Gap, real } from './gap.ts'
import { schemaGaps } from './schemas.ts'

type Json = Record<string, unknown>
const said = (gap: Gap, way: 'narrowed' | 'widened') => `${gap.path.join('.')}: ${gap[way]}`.replace(/^: /, '')

/** What `from` allows and `to` does not, of JSON Schemas or of zod's. */
function gaps(from: unknown, to: unknown) {
  const plain = (schema: unknown) => (schema instanceof z.ZodType ? jsonSchemaOf(schema) : schema)
  const [a, b] = [plain(from), plain(to)]
  return schemaGaps({ schema: a, root: a }, { schema: b, root: b })
}
const narrowed = (from: unknown, to: unknown) =>
  gaps(from, to)
    .filter(real)
    .map((gap) => said(gap, 'narrowed'))

describe('what an old schema allows and a new one does not', () => {
  const text = z.string()
  const cases: [what: string, old: unknown, now: unknown, expected: string[]][] = [
    ['a property is required', z.object({ a: text.optional() }), z.object({ a: text }), ['a: is required now']],
    ['a required property is new', z.object({}), z.object({ a: text }), ['a: is required now']],
    ['a property with a default is new', z.object({}), z.object({ a: text.default('x') }), []],
    ['an optional property is new', z.object({}), z.object({ a: text.optional() }), []],
    ['a property is not named any more', z.object({ a: text }), z.object({}), []],
    [
      'the same of a strict object',
      z.object({ a: text }),
      z.strictObject({}),
      ['a: is not allowed any more', 'other properties are not allowed any more'],
    ],
    [
      'an object becomes strict',
      z.object({ a: text }),
      z.strictObject({ a: text }),
      ['other properties are not allowed any more'],
    ],
    ['a strict one opens', z.strictObject({ a: text }), z.object({ a: text }), []],
    ['a value of an enum is gone', z.enum(['a', 'b']), z.enum(['a']), ['"b" is not allowed any more']],
    ['two are', z.enum(['a', 'b', 'c']), z.enum(['c']), ['"a" or "b" are not allowed any more']],
    ['one is new', z.enum(['a']), z.enum(['a', 'b']), []],
    ['text becomes an enum', text, z.enum(['a', 'b']), ['must be "a" or "b" now']],
    ['an enum becomes text', z.enum(['a', 'b']), text, []],
    ['an enum becomes shorter text', z.enum(['a', 'long']), z.string().max(2), ['"long" is not allowed any more']],
    ['null is not allowed', text.nullable(), text, ['null is not allowed any more']],
    ['null is allowed', text, text.nullable(), []],
    [
      'null, as OpenAPI writes it',
      { type: 'string', nullable: true },
      { type: 'string' },
      ['null is not allowed any more'],
    ],
    ['another type', text, z.number(), ['text is not allowed any more; a number is']],
    ['whole numbers only', z.number(), z.int(), ['must be a whole number now']],
    ['any numbers', z.int32(), z.number(), []],
    ['a minimum', z.number(), z.number().min(3), ['must be 3 or above now']],
    ['a lower minimum', z.number().min(3), z.number().min(1), []],
    ['above instead of at least', z.number().min(3), z.number().gt(3), ['must be above 3 now']],
    [
      'above 0 and from 1 on are the same of whole numbers',
      { type: 'integer', exclusiveMinimum: 0 },
      { type: 'integer', minimum: 1 },
      [],
    ],
    ['a maximum', z.number().max(9), z.number().max(8), ['must be 8 or below now']],
    ['steps', z.number().multipleOf(2), z.number().multipleOf(4), ['must be a multiple of 4 now']],
    ['finer steps', z.number().multipleOf(4), z.number().multipleOf(2), []],
    ['shorter text', z.string().max(9), z.string().max(8), ['may have 8 characters at most now']],
    ['longer text', z.string(), z.string().min(1), ['must have at least 1 characters now']],
    ['a format', text, { type: 'string', format: 'uuid' }, ['must fit the format uuid now']],
    ['a pattern', text, { type: 'string', pattern: '^a' }, ['must fit the pattern ^a now']],
    ['the same pattern', { type: 'string', pattern: '^a' }, { type: 'string', pattern: '^a', description: 'x' }, []],
    ['a union gets narrower', z.union([text, z.number()]), text, ['a number is not allowed any more; text is']],
    ['a union gets wider', text, z.union([text, z.number()]), []],
    [
      'a variant of a union',
      z.union([z.object({ k: z.literal('a'), x: text }), z.object({ k: z.literal('b') })]),
      z.union([z.object({ k: z.literal('a'), x: z.number() }), z.object({ k: z.literal('b') })]),
      ['x: text is not allowed any more; a number is'],
    ],
    [
      'a variant is gone',
      z.union([z.object({ k: z.literal('a') }), z.object({ k: z.literal('b') })]),
      z.object({ k: z.literal('a') }),
      ['k: "b" is not allowed any more'],
    ],
    ['items', z.array(text), z.array(z.string().max(3)), ['[]: may have 3 characters at most now']],
    ['fewer items', z.array(text), z.array(text).max(3), ['may have 3 items at most now']],
    [
      'the second of a pair',
      z.tuple([text, text]),
      z.tuple([text, z.number()]),
      ['[1]: text is not allowed any more; a number is'],
    ],
    [
      'values of a map',
      z.record(text, text),
      z.record(text, z.number()),
      ['*: text is not allowed any more; a number is'],
    ],
    [
      'a named property of a map',
      z.record(text, text),
      { type: 'object', properties: { a: { type: 'number' } } },
      ['a: text is not allowed any more; a number is'],
    ],
    [
      'deep inside',
      z.object({ a: z.array(z.object({ b: text.optional() })) }),
      z.object({ a: z.array(z.object({ b: text })) }),
      ['a.[].b: is required now'],
    ],
    [
      'all of several',
      { type: 'object' },
      { allOf: [{ required: ['a'] }, { required: ['b'] }] },
      ['a: is required now', 'b: is required now'],
    ],
    [
      'an intersection',
      z.intersection(z.object({ a: text }), z.object({ b: text })),
      z.object({ a: text, b: text }),
      [],
    ],
    ['anything becomes something', z.unknown(), z.object({}), ['must be an object now']],
    ['something becomes anything', z.object({}), z.unknown(), []],
    ['nothing is allowed', text, false, ['text is not allowed any more; nothing is']],
    ['what nobody can compare', { type: 'string' }, { type: 'string', not: { const: 'x' } }, ['must fit the not now']],
    ['it, unchanged', { type: 'string', not: { const: 'x' } }, { type: 'string', not: { const: 'x' } }, []],
  ]
  it.each(cases)('%s', (_, old, now, expected) => {
    expect(narrowed(old, now).sort()).toEqual([...expected].sort())
  })

  it('goes through references and recursion', () => {
    const tree = (name: z.ZodType): z.ZodType => {
      const Tree: z.ZodType = z.lazy(() => z.object({ name, children: z.array(Tree) }))
      return Tree
    }
    expect(narrowed(tree(z.string()), tree(z.string()))).toEqual([])
    expect(narrowed(tree(z.string()), tree(z.string().max(5)))).toContain('name: may have 5 characters at most now')
    const Name = z.string().meta({ id: 'Name' })
    expect(narrowed(z.object({ a: Name, b: Name }), z.object({ a: z.string(), b: z.number() }))).toEqual([
      'b: text is not allowed any more; a number is',
    ])
    // what refers to nothing but itself says nothing, and ends
    const loop = { $ref: '#/$defs/a', $defs: { a: { anyOf: [{ $ref: '#/$defs/a' }] } } }
    expect(narrowed(loop, loop)).toEqual([])
  })

  it('says of what is only not named that it is harmless', () => {
    expect(gaps(z.object({ a: z.string(), b: z.string().optional() }), z.object({ a: z.string() }))).toEqual([
      { path: ['b'], narrowed: 'is not in the schema any more', widened: 'is new', harmless: true },
    ])
  })
})

describe('of any two schemas', () => {
  const names = ['a', 'b']
  const leaf: fc.Arbitrary<Json> = fc.oneof(
    fc.constant<Json>({}),
    fc.constant<Json>({ type: 'boolean' }),
    fc.subarray([1, 2, 'x', null, true, 'yy'], { minLength: 1 }).map((some): Json => ({ enum: some })),
    fc.record({ minimum: fc.integer({ min: 0, max: 3 }) }).map((limits): Json => ({ type: 'number', ...limits })),
    fc
      .record({ exclusiveMaximum: fc.integer({ min: 0, max: 3 }) })
      .map((limits): Json => ({ type: 'integer', ...limits })),
    fc.record({ maxLength: fc.integer({ min: 0, max: 3 }) }).map((limits): Json => ({ type: 'string', ...limits })),
    fc.constant<Json>({ type: ['string', 'null'], minLength: 1 }),
  )
  const schema = fc.letrec<{ any: Json }>((tie) => ({
    any: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaf,
      fc
        .record({
          properties: fc.dictionary(fc.constantFrom(...names), tie('any')),
          required: fc.uniqueArray(fc.constantFrom(...names)),
          additionalProperties: fc.oneof(fc.constant(undefined), fc.constant(false), tie('any')),
        })
        .map((keywords): Json => JSON.parse(JSON.stringify({ type: 'object', ...keywords }))),
      fc.record({ items: tie('any'), maxItems: fc.nat(2) }).map((keywords): Json => ({ type: 'array', ...keywords })),
      fc.array(tie('any'), { minLength: 1, maxLength: 3 }).map((anyOf): Json => ({ anyOf })),
      fc.tuple(tie('any'), leaf).map((allOf): Json => ({ allOf })),
    ),
  })).any
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom(null, true, false, 0, 1, 1.5, 2, 3, '', 'x', 'yy', 'long'),
      fc.dictionary(fc.constantFrom(...names), tie('any')),
      fc.array(tie('any'), { maxLength: 3 }),
    ),
  })).any
  const ajv = new Ajv({ strict: false })

  /** The rule that properties which nobody names are not sent: then these schemas allow what they name alone. */
  const closed = (of: unknown): unknown => {
    if (Array.isArray(of)) return of.map(closed)
    if (typeof of !== 'object' || of === null) return of
    const inner = Object.fromEntries(Object.entries(of).map(([key, one]) => [key, key === 'enum' ? one : closed(one)]))
    return 'properties' in inner && inner.additionalProperties === undefined
      ? { ...inner, additionalProperties: false }
      : inner
  }

  it('a schema has no gap to itself', () => {
    fc.assert(fc.property(schema, (one) => void expect(narrowed(one, one)).toEqual([])))
  })

  it('where no gap is found, a validator takes every value of the one for the other', () => {
    fc.assert(
      fc.property(schema, schema, fc.array(value, { minLength: 30, maxLength: 60 }), (from, to, values) => {
        if (narrowed(from, to).length > 0) return
        const [before, after] = [ajv.compile(closed(from) as Json), ajv.compile(to)]
        for (const one of values) if (before(one)) expect(after(one), JSON.stringify([from, to, one])).toBe(true)
      }),
      { numRuns: 600 },
    )
  })
})
