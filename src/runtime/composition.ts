// A composition names the units of an enterprise, where their code is and how they run. It is data, checked at once as a
// whole: every wrong key is named with its path, what was expected there, and what may have been meant.
import { z } from 'zod'
import { failure, unknownKey } from '../bus/internal.ts'
import { isUnit, type Unit } from '../unit/internal.ts'

const name = z.string().regex(/^[a-zA-Z][a-zA-Z0-9_-]*$/, 'expected a name: a letter, then letters, digits, - and _')

const unitSchema = z.strictObject({
  use: z
    .union([z.string().min(1), z.custom<Unit>(isUnit)], { error: 'expected the path of a module or a unit' })
    .describe(
      'a module whose default export is a unit (path relative to this file), a unit that needs no module (myelin:processor, myelin:sse, myelin:controller), or the unit itself',
    ),
  config: z.record(z.string(), z.unknown()).default({}).describe("the unit's configuration, checked by its own schema"),
  replicas: z.number().int().min(0).max(1_000).default(1).describe('running copies'),
  isolation: z
    .enum(['none', 'process', 'worker'])
    .default('none')
    .describe("'process' or 'worker': each copy in a process or a thread of its own, restarted when it dies"),
  site: name.optional().describe('where it runs; absent: everywhere'),
  tags: z.array(name).max(20).default([]).describe('words to pick its instances by: `tag=canary`'),
})

const storageShape = {
  replicas: z
    .number()
    .int()
    .min(1)
    .max(5)
    .optional()
    .describe('copies that a cluster keeps of every stream and bucket; default 3 where the servers can, else 1'),
}

/** @internal */
export const compositionSchema = z.strictObject({
  name: name.describe('of the whole'),
  sites: z
    .record(
      name,
      z.strictObject({
        cloud: z.string().optional(),
        region: z.string().optional(),
        at: z
          .tuple([z.number().min(-90).max(90), z.number().min(-180).max(180)])
          .optional()
          .describe('latitude, longitude'),
      }),
    )
    .default({}),
  storage: z.strictObject(storageShape).default({}).describe('how what the units store is kept'),
  units: z.record(name, unitSchema).refine((units) => Object.keys(units).length > 0, 'expected at least one unit'),
})

/** A composition as written. */
export type CompositionSpec = z.input<typeof compositionSchema>
/** A checked composition. */
export type Composition = z.output<typeof compositionSchema>
export type UnitSpec = Composition['units'][string]

/**
 * Types a composition file; the checks run when it is loaded.
 *
 * @example
 * export default defineComposition({
 *   name: 'airline',
 *   units: { airports: { use: './units/airports.ts', replicas: 2 }, delays: { use: './units/delays.ts', isolation: 'process' } },
 * })
 */
export function defineComposition(composition: CompositionSpec): CompositionSpec {
  return composition
}

/** @throws MyelinError INVALID_COMPOSITION, naming every wrong key */
export function parseComposition(
  value: unknown,
  file: string,
  at?: (path: readonly PropertyKey[]) => string,
): Composition {
  const result = compositionSchema.safeParse(value)
  if (!result.success) {
    const problems = flatten(result.error.issues).map(({ path, steps, message }) => {
      const place = at ? `${at(steps)}: ` : ''
      return `${place}${path || 'the file'}: ${message}`
    })
    throw failure('INVALID_COMPOSITION', `${file}\n  ${problems.join('\n  ')}`, { data: { file, issues: problems } })
  }
  const composition = result.data
  for (const [unit, { site, use, isolation }] of Object.entries(composition.units)) {
    if (site !== undefined && !(site in composition.sites)) {
      const place = at ? `${at(['units', unit, 'site'])}: ` : ''
      throw failure(
        'INVALID_COMPOSITION',
        `${file}\n  ${place}units.${unit}.site: "${site}" is not one of the sites (${Object.keys(composition.sites).join(', ') || 'there are none'})`,
      )
    }
    if (isolation !== 'none' && typeof use !== 'string') {
      throw failure(
        'INVALID_COMPOSITION',
        `${file}\n  units.${unit}.use: a unit in a process or thread of its own is named by its module's path, not given itself`,
      )
    }
  }
  return composition
}

interface Issue {
  readonly path: string
  readonly steps: readonly PropertyKey[]
  readonly message: string
}

function flatten(issues: readonly z.core.$ZodIssue[]): Issue[] {
  return issues.map((issue) => {
    const path = issue.path.map(String).join('.')
    if (issue.code === 'unrecognized_keys') {
      const shape = path.startsWith('units.')
        ? unitSchema.shape
        : path === 'storage'
          ? storageShape
          : compositionSchema.shape
      const hints = issue.keys.map((key) => unknownKey(key, Object.keys(shape)))
      return { path, steps: [...issue.path, issue.keys[0]!], message: hints.join('; ') }
    }
    return { path, steps: issue.path, message: issue.message }
  })
}
