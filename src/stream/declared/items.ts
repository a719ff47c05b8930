// What a program needs of each value, found before the program sees it: whether it counts, what it becomes, its time, its
// key, and what is aggregated.
import { failure } from '../../bus/internal.ts'
import { compile, type Expression, truthy } from '../../unit/internal.ts'
import { declaredAggregate, type Reading } from './aggregates.ts'
import type { Item } from './item.ts'
import { type Declared, storedTime } from './schema.ts'

interface Field {
  readonly expression: Expression
  put(item: Item, found: unknown): void
}

export interface Items {
  /** Every expression is a plain field path, so that it is done at once. Undefined: the value is left out. */
  readonly extract: ((value: unknown) => Item | undefined) | undefined
  /** @throws MyelinError INVALID_INPUT, naming the expression */
  ask(value: unknown): Promise<Item | undefined>
}

export async function itemsOf({ where, map, time, key, to, aggregate }: Declared): Promise<Items> {
  const compiled = async (name: string, text: string | undefined) =>
    text === undefined ? undefined : compile(name, text)
  const test = await compiled('where', where)
  const change = await compiled('map', map)
  const fields: Field[] = []
  const when = await compiled('time', time === storedTime ? undefined : time)
  if (when) {
    const put = (item: Item, found: unknown) => {
      item.time = textOrNumber('time', found)
    }
    fields.push({ expression: when, put })
  }
  const by = await compile('key', key ?? to.key)
  const putKey = (item: Item, found: unknown) => {
    item.key = textOrNumber('key', found)
  }
  fields.push({ expression: by, put: putKey })
  const readings = Object.entries(aggregate ?? {}).flatMap(([name, declared]) => {
    const { kind, readings } = declaredAggregate(declared)
    return readings.map((reading) => ({
      ...reading,
      name: ['aggregate', name, kind, reading.name].filter(Boolean).join('.'),
    }))
  })
  for (const [at, { name, text, type }] of readings.entries()) {
    const put = (item: Item, found: unknown) => {
      item.values[at] = checked(name, type, found)
    }
    fields.push({ expression: await compile(name, text), put })
  }
  // a value that is a row must be one
  const mapped = (value: unknown) => {
    if (aggregate || (typeof value === 'object' && value !== null && !Array.isArray(value))) return value
    throw failure('INVALID_INPUT', `${change ? 'map' : 'the value'}: expected an object for a row, got ${shown(value)}`)
  }
  const empty = (value: unknown): Item => ({ value, time: 0, key: '', values: [] })
  const all = [test, change, ...fields.map(({ expression }) => expression)]
  return {
    extract: all.every((expression) => expression === undefined || expression.plain)
      ? (value) => {
          if (test && !truthy(test.plain!(value))) return undefined
          const item = empty(mapped(change ? change.plain!(value) : value))
          for (const { expression, put } of fields) put(item, expression.plain!(item.value))
          return item
        }
      : undefined,
    async ask(value) {
      if (test && !truthy(await found(test, value))) return undefined
      const item = empty(mapped(change ? await found(change, value) : value))
      for (const { expression, put } of fields) {
        // what needs no promise gets none
        put(item, expression.plain ? expression.plain(item.value) : await expression.evaluate!(item.value))
      }
      return item
    },
  }
}

const found = (expression: Expression, value: unknown) => (expression.plain ?? expression.evaluate!)(value)

function checked(name: string, type: Reading['type'], value: unknown): unknown {
  if (type === 'boolean') return truthy(value)
  if (type === 'any') return value ?? null
  if (Number.isFinite(value)) return value
  if (type === 'scalar' && (typeof value === 'string' || typeof value === 'boolean')) return value
  const expected = type === 'number' ? 'a finite number' : 'text, a finite number or a boolean'
  throw failure('INVALID_INPUT', `${name}: expected ${expected}, got ${shown(value)}`)
}

function textOrNumber(name: string, value: unknown): string | number {
  if (typeof value === 'string' || Number.isFinite(value)) return value as string | number
  throw failure('INVALID_INPUT', `${name}: expected text or a number, got ${shown(value)}`)
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 59)}…` : text
}
