// Keys of a configuration that its schema does not know. Zod leaves them out in silence, so that `{ sped: 60 }` runs with
// the default speed; a configuration refuses them, at every depth, unless the schema is loose (`z.looseObject`).
import { unknownKey } from '../bus/internal.ts'

/** As far as it is needed here, the definition of a zod 4 schema. */
interface Def {
  readonly type: string
  readonly shape?: Readonly<Record<string, unknown>>
  readonly catchall?: unknown
  readonly innerType?: unknown
  readonly element?: unknown
  readonly items?: readonly unknown[]
  readonly rest?: unknown
  readonly in?: unknown
  readonly out?: unknown
  readonly valueType?: unknown
  readonly options?: readonly unknown[]
  readonly left?: unknown
  readonly right?: unknown
  readonly getter?: () => unknown
}

export interface UnknownKey {
  readonly path: readonly PropertyKey[]
  readonly message: string
}

/** What a zod schema knows nothing of in a value, with what may have been meant. Of other schemas nothing is said. */
export function unknownKeys(schema: unknown, value: unknown, path: readonly PropertyKey[] = []): UnknownKey[] {
  const def = (schema as { _zod?: { def?: Def } } | undefined)?._zod?.def
  if (!def || typeof value !== 'object' || value === null) return []
  const inside = (inner: unknown) => unknownKeys(inner, value, path)
  switch (def.type) {
    case 'object':
      return inObject(def, value, path)
    case 'array':
      return each(value, (item, i) => unknownKeys(def.element, item, [...path, i]))
    case 'tuple':
      return each(value, (item, i) => unknownKeys(def.items?.[i] ?? def.rest, item, [...path, i]))
    case 'record':
      return Object.entries(value).flatMap(([key, one]) => unknownKeys(def.valueType, one, [...path, key]))
    case 'union':
      return inUnion(def, value, path)
    case 'intersection': {
      // what either side knows is known
      const [left, right] = [inside(def.left), inside(def.right)]
      const also = new Set(right.map(({ path: at }) => at.join('.')))
      return left.filter(({ path: at }) => also.has(at.join('.')))
    }
    case 'lazy':
      return inside(def.getter?.())
    case 'pipe':
      // what a preprocessing function makes of it is not known here
      return isTransform(def.in) ? [] : inside(def.in)
    default:
      return def.innerType === undefined ? [] : inside(def.innerType)
  }
}

const isTransform = (schema: unknown) => (schema as { _zod?: { def?: Def } })?._zod?.def?.type === 'transform'

const each = <Item>(value: object, of: (item: unknown, i: number) => Item[]): Item[] =>
  Array.isArray(value) ? value.flatMap(of) : []

function inObject({ shape = {}, catchall }: Def, value: object, path: readonly PropertyKey[]): UnknownKey[] {
  const known = Object.keys(shape)
  const open = (catchall as { _zod?: { def?: Def } } | undefined)?._zod?.def
  return Object.entries(value).flatMap(([key, one]) => {
    if (Object.hasOwn(shape, key)) return unknownKeys(shape[key], one, [...path, key])
    if (open && open.type !== 'never') return unknownKeys(catchall, one, [...path, key])
    return [{ path: [...path, key], message: unknownKey(key, known) }]
  })
}

/** Of the alternatives that take the value, the one that knows most of it. */
function inUnion({ options = [] }: Def, value: object, path: readonly PropertyKey[]): UnknownKey[] {
  const taking = options.filter((option) => {
    const { safeParse } = option as { safeParse?: (value: unknown) => { success: boolean } }
    try {
      return safeParse?.(value).success ?? true
    } catch {
      return true // it checks by asking somebody, which only the real parse can wait for
    }
  })
  const found = taking.map((option) => unknownKeys(option, value, path)).sort((a, b) => a.length - b.length)
  return found[0] ?? []
}
