import { createRequire } from 'node:module'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { asyncapi, contract, stream } from './index.ts'

// the parser's ES module build does not load (3.6.3 imports a helper it does not ship); its CommonJS build does
const { Parser } = createRequire(import.meta.url)('@asyncapi/parser') as typeof import('@asyncapi/parser')

const shop = contract('shop', {
  version: '2.1.0',
  description: 'A shop.',
  endpoints: {
    price: {
      in: z.object({ sku: z.string() }),
      out: z.object({ cents: z.number().int() }),
      errors: { UNKNOWN: z.object({ sku: z.string() }) },
    },
    list: { in: z.object({}), out: stream(z.object({ sku: z.string() })) },
  },
  events: {
    sold: { payload: z.object({ sku: z.string(), at: z.iso.datetime() }), key: 'sku', durable: true },
    looked: { payload: z.object({ sku: z.string() }) },
  },
  jobs: { ship: { payload: z.object({ order: z.string() }), attempts: 3 } },
})

it('passes the AsyncAPI parser without a complaint', async () => {
  const { document, diagnostics } = await new Parser().parse(JSON.stringify(asyncapi([shop])))
  expect(diagnostics.filter(({ severity }) => severity <= 1)).toEqual([])
  expect(document?.version()).toBe('3.0.0')
  const operations = document
    ?.operations()
    .all()
    .map((operation) => operation.id())
  expect(operations?.sort()).toEqual([
    'shop.list.handle',
    'shop.looked.publish',
    'shop.price.handle',
    'shop.ship.work',
    'shop.sold.publish',
  ])
})

it('describes payloads as the contract does', async () => {
  const document = asyncapi([shop]) as {
    channels: Record<string, { address: string }>
    components: { schemas: Record<string, { required?: string[] }> }
  }
  expect(document.channels['shop.sold']?.address).toBe('evt.shop.sold.{sku}')
  expect(document.components.schemas['shop.sold']?.required).toEqual(['sku', 'at'])
})
