import { createRequire } from 'node:module'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { asyncapi, contract, stream } from './internal.ts'

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

/** Every `$ref` of the document leads somewhere within it. */
function brokenReferences(document: unknown): string[] {
  const broken: string[] = []
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    for (const [key, inner] of Object.entries(value)) {
      if (key !== '$ref' || typeof inner !== 'string') look(inner)
      else {
        const steps = inner.slice(2).split('/')
        const target = steps.reduce<unknown>(
          (at, step) => (at as Record<string, unknown> | undefined)?.[step],
          document,
        )
        if (!inner.startsWith('#/') || target === undefined) broken.push(inner)
      }
    }
  }
  look(document)
  return broken
}

const complaints = async (document: unknown) =>
  (await new Parser().parse(JSON.stringify(document))).diagnostics
    .filter(({ severity }) => severity <= 1)
    .map(({ message, path }) => `${path.join('.')}: ${message}`)

type Schemas = { components: { schemas: Record<string, Record<string, never>> } }

it('moves named and recursive schemas to the components, where their references find them', async () => {
  const Address = z.object({ city: z.string() }).meta({ id: 'Address' })
  interface Tree {
    name: string
    children: Tree[]
  }
  const Tree: z.ZodType<Tree> = z.lazy(() => z.object({ name: z.string(), children: z.array(Tree) }))
  const Person = z.object({
    name: z.string(),
    home: Address,
    work: Address,
    friends: z.array(z.lazy((): z.ZodType => Person)),
  })
  const post = contract('post', {
    version: '1.0.0',
    endpoints: { send: { in: z.object({ to: Address }), out: Tree, errors: { LOST: z.object({ tree: Tree }) } } },
    events: { moved: { payload: Person } },
  })
  const document = asyncapi([post]) as Schemas
  expect(brokenReferences(document)).toEqual([])
  expect(await complaints(document)).toEqual([])
  const { schemas } = document.components
  expect(schemas['post.send.request']).toMatchObject({
    properties: { to: { $ref: '#/components/schemas/post.send.request.Address' } },
  })
  expect(schemas['post.send.request.Address']).toMatchObject({ properties: { city: { type: 'string' } } })
  expect(JSON.stringify(schemas['post.moved'])).toContain('"$ref":"#/components/schemas/post.moved')
  expect(JSON.stringify(document)).not.toMatch(/"\$ref":"#(\/definitions|\/\$defs|")/)
})

it('leaves open what JSON has no form for, and nothing around it', async () => {
  const payload = z.object({
    id: z.string(),
    at: z.date(),
    big: z.bigint(),
    map: z.map(z.string(), z.number()),
    set: z.set(z.string()),
    list: z.array(z.object({ n: z.number(), at: z.date() })),
  })
  const odd = contract('odd', { version: '1.0.0', events: { reported: { payload } } })
  const document = asyncapi([odd]) as Schemas
  expect(await complaints(document)).toEqual([])
  expect(document.components.schemas['odd.reported']).toMatchObject({
    required: ['id', 'at', 'big', 'map', 'set', 'list'],
    properties: {
      id: { type: 'string' },
      at: { type: 'string', format: 'date-time' },
      big: { description: 'a bigint, which JSON has no form for' },
      list: { items: { properties: { n: { type: 'number' }, at: { format: 'date-time' } } } },
    },
  })
})

it('keeps two versions of a contract apart', async () => {
  const house = (version: string, field: string) =>
    contract('house', { version, events: { rang: { payload: z.object({ [field]: z.string() }) } } })
  const [one, two] = [house('1.0.0', 'bell'), house('2.0.0+b', 'knock')]
  const document = asyncapi([one, two, one]) as Schemas
  expect(brokenReferences(document)).toEqual([])
  expect(document.components.schemas['house-1.0.0.rang']).toMatchObject({ required: ['bell'] })
  expect(document.components.schemas['house-2.0.0_b.rang']).toMatchObject({ required: ['knock'] })
  expect(await complaints(document)).toEqual([])
})

it('takes keys of any name', async () => {
  const houses = ['room', 'room-id', 'room.id', 'größe', 'a/b', 'a b'].map((key, i) =>
    contract(`house${i}`, {
      version: '1.0.0',
      events: { rang: { payload: z.looseObject({ [key]: z.string() }), key } },
      jobs: { open: { payload: z.looseObject({ [key]: z.string() }), unique: key } },
    }),
  )
  expect(await complaints(asyncapi(houses))).toEqual([])
})

it('describes the headers that are sent: of jobs those of jobs', () => {
  const document = asyncapi([shop]) as Schemas & { components: { messages: Record<string, { headers: unknown }> } }
  expect(document.components.messages['shop.ship']?.headers).toEqual({ $ref: '#/components/schemas/myelin.jobHeaders' })
  expect(Object.keys(document.components.schemas['myelin.jobHeaders']!.properties!)).toEqual([
    'Nats-Msg-Id',
    'Myelin-Caller',
    'Myelin-Tenant',
    'traceparent',
    'tracestate',
  ])
})
