import { toStandardJsonSchema } from '@valibot/to-json-schema'
import * as v from 'valibot'
import { expect, it } from 'vitest'
import { withNats } from '../../test/support/nats.ts'
import { client, discover, serve, service } from '../service/index.ts'
import { asyncapi, contract } from './internal.ts'

const nats = withNats()

const Order = toStandardJsonSchema(v.object({ sku: v.string(), count: v.pipe(v.number(), v.integer(), v.minValue(1)) }))
const shop = contract('valibot_shop', {
  version: '1.0.0',
  endpoints: { buy: { in: Order, out: toStandardJsonSchema(v.object({ cents: v.number() })) } },
  events: { sold: { payload: Order } },
})
const orderSchema = {
  type: 'object',
  properties: { sku: { type: 'string' }, count: { type: 'integer', minimum: 1 } },
  required: ['sku', 'count'],
}

it('checks what comes in with a valibot schema, and tells it as JSON Schema in INFO and AsyncAPI', async () => {
  await using _ = await serve(nats.bus, service(shop, { buy: ({ count }) => ({ cents: 100 * count }) }))
  const api = client(nats.bus, shop)
  expect(await api.buy({ sku: 'a', count: 2 })).toEqual({ cents: 200 })
  await expect(api.buy({ sku: 'a', count: 0 })).rejects.toMatchObject({ code: 'INVALID_INPUT' })
  const [found] = await discover(nats.bus, { waitMs: 1_000 })
  expect(JSON.parse(found!.endpoints[0]!.metadata.request_schema!)).toMatchObject(orderSchema)
  const { schemas } = (asyncapi([shop]) as { components: { schemas: Record<string, unknown> } }).components
  expect(schemas['valibot_shop.buy.request']).toMatchObject(orderSchema)
  expect(schemas['valibot_shop.sold']).toMatchObject(orderSchema)
})

it('leaves open what JSON has no form for, instead of losing all around it', () => {
  const wide = contract('wide', {
    version: '1.0.0',
    events: { grew: { payload: toStandardJsonSchema(v.object({ name: v.string(), size: v.bigint() })) } },
  })
  const { schemas } = (asyncapi([wide]) as { components: { schemas: Record<string, unknown> } }).components
  expect(schemas['wide.grew']).toMatchObject({ properties: { name: { type: 'string' } } })
})
