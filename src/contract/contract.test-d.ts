// What a contract cannot mean does not compile; checked by tsc, run by nobody.
import { z } from 'zod'
import { type ContractDefinition, contract, type InputOf, type OutputOf } from './index.ts'

const version = '1.0.0'
const Closure = z.object({
  iata: z.string(),
  gate: z.number().optional(),
  until: z.date(),
  open: z.boolean(),
  where: z.object({ lat: z.number() }),
  kind: z.enum(['a', 'b']),
})

export const good = contract('good', {
  version,
  events: {
    text: { payload: Closure, key: 'iata' },
    optional: { payload: Closure, key: 'gate', durable: true },
    listed: { payload: Closure, key: 'kind', durable: { maxAge: '7d' } },
    none: { payload: Closure },
    coerced: { payload: z.object({ n: z.coerce.number() }), key: 'n' },
    open: { payload: z.record(z.string(), z.string()), key: 'anything' },
    unknown: { payload: z.unknown(), key: 'anything' },
    branded: { payload: z.object({ id: z.string().brand('Id') }), key: 'id' },
    either: {
      payload: z.union([z.object({ id: z.string(), a: z.string() }), z.object({ id: z.number(), b: z.string() })]),
      key: 'id',
    },
    // the key is taken from what is sent, before its schema renames it
    renamed: { payload: z.object({ code: z.string() }).transform(({ code }) => ({ iata: code })), key: 'code' },
  },
  jobs: { reroute: { payload: Closure, unique: 'iata' }, plain: { payload: Closure, attempts: 3 } },
})

contract('bad', {
  version,
  events: {
    // @ts-expect-error no such field
    missing: { payload: Closure, key: 'code' },
    // @ts-expect-error no such field, durable either
    durable: { payload: Closure, key: 'code', durable: true },
    // @ts-expect-error a date is no part of a subject
    date: { payload: Closure, key: 'until' },
    // @ts-expect-error nor is a boolean
    boolean: { payload: Closure, key: 'open' },
    // @ts-expect-error nor an object
    object: { payload: Closure, key: 'where' },
    // @ts-expect-error a text has fields of its own, but none that is data
    text: { payload: z.string(), key: 'length-of' },
    // @ts-expect-error not all payloads have it
    either: { payload: z.union([z.object({ a: z.string() }), z.object({ b: z.string() })]), key: 'a' },
    // @ts-expect-error it has another name when it is sent
    renamed: { payload: z.object({ code: z.string() }).transform(({ code }) => ({ iata: code })), key: 'iata' },
  },
  jobs: {
    // @ts-expect-error no such field
    missing: { payload: Closure, unique: 'code' },
    // @ts-expect-error a date is no part of a subject
    date: { payload: Closure, unique: 'until' },
  },
})

// definitions that are made at run time are checked then
export const later = (definition: ContractDefinition) => contract('later', definition)
const made = { version, events: { closed: { payload: Closure, key: String('iata') } } }
contract('made', made)

// names stay literal, for clients and handlers
good.definition.events.text.key satisfies 'iata'
true satisfies InputOf<typeof good.definition.events.coerced.payload> extends { n: unknown } ? true : false
true satisfies OutputOf<typeof good.definition.events.coerced.payload> extends { n: number } ? true : false
