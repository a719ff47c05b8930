// The JSON Schema of composition files, for editors: with the configuration of the units that need no module.
import { z } from 'zod'
import { builtInUnit, builtInUnits } from './built-in.ts'
import { compositionSchema } from './composition.ts'

const asInput = { unrepresentable: 'any', io: 'input' } as const

interface UnitsSchema {
  properties: { units: { additionalProperties: Record<string, unknown> } }
}

/** What `myelin.yaml` may hold. */
export async function compositionJsonSchema(): Promise<Record<string, unknown>> {
  const schema = z.toJSONSchema(compositionSchema, asInput)
  const configured = await Promise.all(
    builtInUnits.map(async (use) => {
      const { config } = await builtInUnit(use, 'use')
      if (!(config instanceof z.ZodType)) return []
      const { $schema, ...own } = z.toJSONSchema(config, asInput)
      return {
        if: { properties: { use: { const: use } } },
        // biome-ignore lint/suspicious/noThenProperty: JSON Schema's word; nobody awaits this
        then: { required: ['config'], properties: { config: own } },
      }
    }),
  )
  // a unit of one's own has a schema that only its module knows
  const unit = (schema as unknown as UnitsSchema).properties.units.additionalProperties
  unit.allOf = configured.flat()
  return schema
}
