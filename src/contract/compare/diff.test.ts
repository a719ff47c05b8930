import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf } from '../../../test/support/nats.ts'
import { asyncapi } from '../asyncapi.ts'
import { contract } from '../contract.ts'
import { type ContractDefinition, stream } from '../definition.ts'
import { diffAll, diffContracts } from './diff.ts'
import { shapesOfDocument } from './document.ts'
import { shapeOf } from './shape.ts'

type Parts = Omit<ContractDefinition, 'version'>
const shop = (parts: Parts, version = '1.0.0') => contract('shop', { version, ...parts })
const between = (old: Parts, now: Parts) => diffContracts(shapeOf(shop(old)), shapeOf(shop(now, '1.1.0')))
const lines = ({ changes }: ReturnType<typeof between>) =>
  changes.map(
    ({ effect, for: whom, kind, name, path, reason }) =>
      `${effect} for ${whom.join(' and ')}: ${kind} ${[name, path].filter(Boolean).join('.')} ${reason}`,
  )

const text = z.string()
const A = z.object({ a: text })
const AorB = z.object({ a: text, b: text.optional() })
const AandB = z.object({ a: text, b: text })
const endpoint = (request: z.ZodType, reply: z.ZodType, more = {}): Parts => ({
  endpoints: { get: { in: request, out: reply, ...more } },
})
const event = (payload: z.ZodType, more = {}): Parts => ({ events: { sold: { payload, ...more } } })
const job = (payload: z.ZodType, more = {}): Parts => ({ jobs: { ship: { payload, ...more } } })

describe('what changed between two versions of a contract, and for whom', () => {
  const cases: [what: string, old: Parts, now: Parts, expected: string[]][] = [
    ['nothing', endpoint(A, A), endpoint(A, A), []],
    ['an endpoint is new', {}, endpoint(A, A), ['additive for callers: endpoint get the endpoint is new']],
    ['an endpoint is removed', endpoint(A, A), {}, ['breaking for callers: endpoint get the endpoint is removed']],
    ['an event is removed', event(A), {}, ['breaking for handlers: event sold the event is removed']],
    ['a job is removed', job(A), {}, ['breaking for callers and queued jobs: job ship the job is removed']],
    [
      'a request needs more',
      endpoint(A, A),
      endpoint(AandB, A),
      ['breaking for callers: endpoint get.request.b is required now'],
    ],
    [
      'a request may hold more',
      endpoint(A, A),
      endpoint(AorB, A),
      ['additive for callers: endpoint get.request.b is new'],
    ],
    [
      'a request needs less',
      endpoint(AandB, A),
      endpoint(AorB, A),
      ['additive for callers: endpoint get.request.b may be missing now'],
    ],
    [
      'a reply holds more',
      endpoint(A, A),
      endpoint(A, AandB),
      [
        'additive for callers: endpoint get.reply.b is required now',
        'additive for callers: endpoint get.reply.b is new',
      ],
    ],
    [
      'a reply may lack something',
      endpoint(A, AandB),
      endpoint(A, AorB),
      ['breaking for callers: endpoint get.reply.b may be missing now'],
    ],
    [
      'a reply lacks something',
      endpoint(A, AandB),
      endpoint(A, A),
      ['breaking for callers: endpoint get.reply.b is removed'],
    ],
    [
      'a reply may be null',
      endpoint(A, A),
      endpoint(A, A.nullable()),
      ['breaking for callers: endpoint get.reply may be null now'],
    ],
    [
      'a reply is streamed',
      endpoint(A, A),
      { endpoints: { get: { in: A, out: stream(A) } } },
      ['breaking for callers: endpoint get.reply is a stream of items now'],
    ],
    [
      'it is not idempotent any more',
      endpoint(A, A, { idempotent: true }),
      endpoint(A, A),
      [
        'breaking for callers: endpoint get.idempotent callers still call again after a failure, so it may be done twice',
      ],
    ],
    [
      'large payloads are refused',
      endpoint(A, A, { claimCheck: true }),
      endpoint(A, A),
      ['breaking for callers: endpoint get.claimCheck payloads over the limit of a message are refused now'],
    ],
    [
      'an error is new',
      endpoint(A, A),
      endpoint(A, A, { errors: { NONE: A } }),
      ['additive for callers: endpoint get.errors.NONE is new; old callers get it as INTERNAL'],
    ],
    [
      'an error is gone',
      endpoint(A, A, { errors: { NONE: A } }),
      endpoint(A, A),
      ['additive for callers: endpoint get.errors.NONE does not come any more'],
    ],
    [
      "an error's data lacks something",
      endpoint(A, A, { errors: { NONE: A } }),
      endpoint(A, A, { errors: { NONE: z.object({}) } }),
      ['breaking for callers: endpoint get.errors.NONE.a is removed'],
    ],
    ['an event lacks something', event(AandB), event(A), ['breaking for handlers: event sold.payload.b is removed']],
    [
      'an event needs more',
      event(A),
      event(AandB),
      [
        'additive for handlers: event sold.payload.b is required now',
        'additive for handlers: event sold.payload.b is new',
      ],
    ],
    [
      'a durable event needs more',
      event(A, { durable: true }),
      event(AandB, { durable: true }),
      ['breaking for stored events: event sold.payload.b is required now'],
    ],
    [
      'a durable event may hold more',
      event(A, { durable: true }),
      event(AorB, { durable: true }),
      ['additive for handlers: event sold.payload.b is new'],
    ],
    [
      'an event has another key',
      event(AandB, { key: 'a' }),
      event(AandB, { key: 'b', durable: true }),
      [
        'breaking for handlers: event sold.key is on other subjects: it had the key "a" and has the key "b" now',
        'additive for handlers: event sold.durable is stored now',
      ],
    ],
    [
      'an event is not stored any more',
      event(A, { durable: true }),
      event(A),
      [
        'breaking for handlers and stored events: event sold.durable is not stored any more: handlers miss what comes while they are away',
      ],
    ],
    [
      'events are kept for less long',
      event(A, { durable: { maxAge: '7d' } }),
      event(A, { durable: { maxAge: '36h' } }),
      ['breaking for stored events: event sold.durable.maxAge is 36h now: events beyond it are removed'],
    ],
    [
      'events are kept for longer',
      event(A, { durable: { maxAge: '7d' } }),
      event(A, { durable: true }),
      ['additive for stored events: event sold.durable.maxAge is without end now'],
    ],
    [
      'events are kept elsewhere',
      event(A, { durable: true }),
      event(A, { durable: { storage: 'memory' } }),
      ['breaking for stored events: event sold.durable.storage the server cannot move a stream from file to memory'],
    ],
    [
      'a job needs more',
      job(A),
      job(AandB),
      ['breaking for callers and queued jobs: job ship.payload.b is required now'],
    ],
    [
      'a job may be what old workers do not know',
      job(z.enum(['a'])),
      job(z.enum(['a', 'b'])),
      ['breaking for handlers: job ship.payload may be "b" now'],
    ],
    ['a job may hold more', job(A), job(AorB), ['additive for callers: job ship.payload.b is new']],
    [
      'a job is unique by another field',
      job(AandB, { unique: 'a' }),
      job(AandB),
      [
        'breaking for callers and queued jobs: job ship.unique is on other subjects: it was unique by "a" and is not unique now',
      ],
    ],
    [
      'settings of one side are no change',
      endpoint(A, A, { timeoutMs: 5, maxInFlight: 1, description: 'x' }),
      endpoint(A, A, { timeoutMs: 9 }),
      [],
    ],
    [
      'a schema that tells nothing',
      job(A),
      {
        jobs: {
          ship: { payload: { '~standard': { version: 1, vendor: 'own', validate: (value: unknown) => ({ value }) } } },
        },
      },
      ['unknown for callers: job ship.payload the new side tells no JSON Schema of it'],
    ],
  ]
  it.each(cases)('%s', (_, old, now, expected) => {
    expect(lines(between(old, now)).sort()).toEqual([...expected].sort())
  })

  it('says which part of the version is to be raised, and puts what breaks first', () => {
    expect(between(endpoint(A, A), endpoint(A, A))).toMatchObject({ compatible: true, raise: 'none' })
    expect(between(endpoint(A, A), endpoint(AorB, A))).toMatchObject({ compatible: true, raise: 'minor' })
    const both = between(endpoint(A, A), { ...endpoint(AandB, A), ...event(A) })
    expect(both).toMatchObject({ contract: 'shop', old: '1.0.0', new: '1.1.0', compatible: false, raise: 'major' })
    expect(both.changes.map(({ effect }) => effect)).toEqual(['breaking', 'additive'])
  })

  it('takes a contract that only one side has as removed or added whole', () => {
    const other = contract('other', { version: '2.0.0', ...event(A) })
    expect(diffAll([shapeOf(shop(job(A)))], [shapeOf(other)])).toMatchObject([
      { contract: 'shop', old: '1.0.0', new: undefined, compatible: false },
      { contract: 'other', old: undefined, new: '2.0.0', compatible: true },
    ])
  })
})

describe('an AsyncAPI document', () => {
  const Tree: z.ZodType = z.lazy(() => z.object({ name: text, children: z.array(Tree) }))
  const whole: Parts = {
    endpoints: {
      get: { in: A, out: Tree, errors: { NONE: A }, idempotent: true, claimCheck: true },
      list: { in: A, out: stream(AorB) },
    },
    events: { sold: { payload: A, key: 'a', durable: { maxAge: '7d' } }, seen: { payload: A } },
    jobs: { ship: { payload: A, unique: 'a' }, pack: { payload: Tree } },
  }

  it('is as good as the contract it was made from', () => {
    const made = JSON.parse(
      JSON.stringify(asyncapi([shop(whole), contract('other', { version: '3.0.0', ...event(A) })])),
    )
    const [read, other] = shapesOfDocument(made, 'shop.json')
    expect(other).toMatchObject({ name: 'other', version: '3.0.0', events: { sold: { key: undefined } } })
    expect(diffContracts(read!, shapeOf(shop(whole)))).toMatchObject({ changes: [] })
    expect(diffContracts(shapeOf(shop(whole)), read!)).toMatchObject({ changes: [] })
    const changed = { ...whole, jobs: { ship: { payload: AandB, unique: 'a' } } }
    expect(lines(diffContracts(read!, shapeOf(shop(changed))))).toEqual([
      'breaking for callers and queued jobs: job ship.payload.b is required now',
      'breaking for callers and queued jobs: job pack the job is removed',
    ])
  })

  it('of another origin is refused with a reason', async () => {
    const read = (document: unknown) => codeOf(Promise.resolve().then(() => shapesOfDocument(document, 'x.json')))
    for (const document of [
      undefined,
      1,
      [],
      {},
      { asyncapi: '3.0.0' },
      { asyncapi: '3.0.0', channels: 5, 'x-myelin': 7 },
    ])
      expect(await read(document)).toBe('INVALID_CONTRACT')
  })
})
