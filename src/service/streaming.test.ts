import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { contract, stream } from '../contract/internal.ts'
import { client, DeclaredError, serve, service } from './index.ts'

const nats = withNats({ maxPayloadBytes: 64 * 1024 })
/** Items a caller has room for: what a handler may be ahead of its reader. */
const creditWindow = 256

const numbers = contract('numbers', {
  version: '1.0.0',
  endpoints: {
    count: { in: z.object({ to: z.number() }), out: stream(z.number()) },
    slowly: { in: z.object({ to: z.number() }), out: stream(z.number()) },
    failing: {
      in: z.object({ after: z.number() }),
      out: stream(z.number()),
      errors: { ENOUGH: z.object({ n: z.number() }) },
    },
    broken: { in: z.object({ after: z.number() }), out: stream(z.number()) },
    wrong: { in: z.object({}), out: stream(z.number()) },
    large: { in: z.object({}), out: stream(z.string()) },
    endless: { in: z.object({}), out: stream(z.number()) },
    silent: { in: z.object({}), out: stream(z.number()) },
    list: { in: z.object({}), out: stream(z.number()) },
  },
})

function makeService() {
  const seen = { made: 0, finished: 0, aborted: 0, taken: () => undefined as void }
  const unit = service(numbers, {
    async *count({ to }) {
      for (let n = 1; n <= to; n++) yield n
    },
    async *slowly({ to }) {
      for (let n = 1; n <= to; n++) {
        yield n
        await new Promise<void>((resolve) => {
          seen.taken = resolve
        })
      }
    },
    async *failing({ after }, { fail }) {
      for (let n = 1; n <= after; n++) yield n
      fail('ENOUGH', { n: after })
    },
    async *broken({ after }) {
      for (let n = 1; n <= after; n++) yield n
      throw new Error('secret detail')
    },
    async *wrong() {
      yield 1
      yield 'two' as never
    },
    async *large() {
      yield 'small'
      yield 'x'.repeat(128 * 1024)
    },
    async *endless(_, { signal }) {
      signal.addEventListener('abort', () => {
        seen.aborted += 1
      })
      try {
        for (;;) yield ++seen.made
      } finally {
        seen.finished += 1
      }
    },
    async *silent(_, { signal }) {
      yield 1
      try {
        await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      } finally {
        seen.finished += 1
      }
    },
    list: () => [1, 2, 3],
  })
  return { seen, unit }
}

/** What a stream gives before it ends, and what it ends with. */
async function readAll<Item>(items: AsyncIterable<Item>) {
  const got: Item[] = []
  try {
    for await (const item of items) got.push(item)
    return { got, error: undefined }
  } catch (error) {
    return { got, error: error as DeclaredError }
  }
}
const upTo = (to: number) => Array.from({ length: to }, (_, index) => index + 1)

describe('a streamed reply', () => {
  it('brings 10,000 items in order', async () => {
    await using _ = await serve(nats.bus, makeService().unit)
    const api = client(await nats.connect(), numbers)
    expect(await readAll(api.count({ to: 10_000 }))).toEqual({ got: upTo(10_000), error: undefined })
  })

  it('brings all items of a handler that waits for its reader after each', async () => {
    const { seen, unit } = makeService()
    await using _ = await serve(nats.bus, unit)
    const got: number[] = []
    for await (const n of client(await nats.connect(), numbers).slowly(
      { to: 3 * creditWindow },
      { timeoutMs: 15_000 },
    )) {
      got.push(n)
      seen.taken()
    }
    expect(got).toEqual(upTo(3 * creditWindow))
  })

  it('may be empty, a plain array, and many at once', async () => {
    await using _ = await serve(nats.bus, makeService().unit)
    const api = client(nats.bus, numbers)
    expect(await readAll(api.count({ to: 0 }))).toEqual({ got: [], error: undefined })
    expect(await readAll(api.list({}))).toEqual({ got: [1, 2, 3], error: undefined })
    const many = await Promise.all(Array.from({ length: 20 }, (_, i) => readAll(api.count({ to: i * 50 }))))
    expect(many.map(({ got }) => got.length)).toEqual(Array.from({ length: 20 }, (_, i) => i * 50))
  })

  it('never lets the handler run ahead of a slow reader by more than its credit', async () => {
    const { seen, unit } = makeService()
    await using _ = await serve(nats.bus, unit)
    let taken = 0
    let ahead = 0
    for await (const _item of client(await nats.connect(), numbers).endless({})) {
      taken += 1
      if (taken % 100 === 0) {
        // what can be on its way has arrived once nothing moves any more
        let made = -1
        await until(async () => {
          const still = made === seen.made
          made = seen.made
          await nats.bus.flush()
          return still
        })
      }
      ahead = Math.max(ahead, seen.made - taken)
      if (taken === 1_000) break
    }
    expect(ahead).toBeGreaterThan(0)
    expect(ahead).toBeLessThanOrEqual(creditWindow + 1) // and the one the generator holds in its hand
  })

  it('ends its handler when the reader leaves the loop', async () => {
    const { seen, unit } = makeService()
    await using running = await serve(nats.bus, unit)
    for await (const item of client(nats.bus, numbers).endless({})) if (item === 10) break
    await until(() => seen.finished === 1)
    expect(seen.aborted).toBe(1)
    await using items = client(nats.bus, numbers).silent({})
    expect(await items.next()).toEqual({ done: false, value: 1 })
    await items.return?.()
    expect(await items.next()).toEqual({ done: true, value: undefined })
    await until(() => seen.finished === 2)
    await until(() => running.stats?.().calls === 2)
  })

  it('ends a handler that waits for its own next item, by `return`, when its reader leaves', async () => {
    const ticks = contract('ticks', {
      version: '1.0.0',
      endpoints: {
        handwritten: { in: z.object({}), out: stream(z.number()) },
        deaf: { in: z.object({}), out: stream(z.number()) },
      },
    })
    const seen = { returned: 0, next: 0 }
    const handwritten = (): AsyncIterable<number> => {
      let end: ((result: IteratorResult<number>) => void) | undefined
      return {
        [Symbol.asyncIterator]: () => ({
          next: () => {
            seen.next += 1
            if (seen.next === 1) return Promise.resolve({ done: false, value: 1 })
            return new Promise((resolve) => {
              end = resolve
            })
          },
          return: async () => {
            seen.returned += 1
            end?.({ done: true, value: undefined })
            return { done: true, value: undefined }
          },
        }),
      }
    }
    const unit = await serve(
      nats.bus,
      service(ticks, {
        handwritten,
        async *deaf() {
          yield 1
          await new Promise(() => undefined) // hears nothing at all
        },
      }),
    )
    const api = client(nats.bus, ticks)
    for await (const _ of api.handwritten({})) break
    await until(() => seen.returned === 1)
    for await (const _ of api.deaf({})) break
    const began = performance.now()
    await unit.drain()
    expect(performance.now() - began).toBeLessThan(5_000)
  })

  it('answers several `next` at once in their order, and those that wait when it ends', async () => {
    await using _unit = await serve(nats.bus, makeService().unit)
    const items = client(nats.bus, numbers).slowly({ to: 2 })
    const asked = [1, 2, 3, 4].map(() => items.next())
    expect(await asked[0]).toEqual({ done: false, value: 1 })
    await items.return?.()
    expect(await Promise.all(asked.slice(2))).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ])
    const counted = client(nats.bus, numbers).count({ to: 3 })
    const results = await Promise.all([1, 2, 3, 4].map(() => counted.next()))
    expect(results.map(({ done, value }) => (done ? 'done' : value))).toEqual([1, 2, 3, 'done'])
    const failing = client(nats.bus, numbers).failing({ after: 1 })
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => failing.next()))
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  })

  it('ends its handler when the loop throws, is disposed of, or its signal aborts', async () => {
    const { seen, unit } = makeService()
    await using _ = await serve(nats.bus, unit)
    const api = client(nats.bus, numbers)
    await expect(async () => {
      for await (const _item of api.endless({})) throw new Error('reader failed')
    }).rejects.toThrow('reader failed')
    await until(() => seen.finished === 1)
    {
      await using items = api.endless({})
      await items.next()
    }
    await until(() => seen.finished === 2)
    const abort = new AbortController()
    const items = api.silent({}, { signal: abort.signal })
    await items.next()
    abort.abort()
    expect(await codeOf(items.next())).toBe('CANCELLED')
    await until(() => seen.finished === 3)
  })

  it('brings the items before an error, then the error, then its end', async () => {
    await using _ = await serve(nats.bus, makeService().unit)
    const api = client(nats.bus, numbers)
    for (const after of [0, 1, 3, creditWindow, 1_000]) {
      const { got, error } = await readAll(api.broken({ after }))
      expect(got).toEqual(upTo(after))
      expect(error).toMatchObject({ code: 'INTERNAL', message: 'numbers.broken failed' })
    }
    const items = api.broken({ after: 0 })
    expect(await codeOf(items.next())).toBe('INTERNAL')
    expect(await items.next()).toEqual({ done: true, value: undefined })
  })

  it('ends with the error that its contract declares, with its typed data', async () => {
    await using _ = await serve(nats.bus, makeService().unit)
    const { got, error } = await readAll(client(nats.bus, numbers).failing({ after: 3 }))
    expect(got).toEqual([1, 2, 3])
    expect(error).toBeInstanceOf(DeclaredError)
    expect(error).toMatchObject({ code: 'ENOUGH', data: { n: 3 } })
  })

  it('ends with INTERNAL at an item that the contract does not allow, PAYLOAD_TOO_LARGE at one too large', async () => {
    await using _ = await serve(nats.bus, makeService().unit)
    const api = client(nats.bus, numbers)
    expect(await readAll(api.wrong({}))).toMatchObject({ got: [1], error: { code: 'INTERNAL' } })
    expect(await readAll(api.large({}))).toMatchObject({ got: ['small'], error: { code: 'PAYLOAD_TOO_LARGE' } })
  })

  it("ends with INVALID_REPLY at an item that does not fit the reader's contract, and stops the handler", async () => {
    const { seen, unit } = makeService()
    await using _ = await serve(nats.bus, unit)
    const below5 = z.number().max(4)
    for (const item of [below5, below5.refine(async () => true)]) {
      const strict = contract('numbers', {
        version: '2.0.0',
        endpoints: { endless: { in: z.object({}), out: stream(item) } },
      })
      seen.made = 0
      const before = seen.finished
      const { got, error } = await readAll(client(nats.bus, strict).endless({}))
      expect(got).toEqual([1, 2, 3, 4])
      expect(error?.code).toBe('INVALID_REPLY')
      await until(() => seen.finished === before + 1)
    }
  })

  it('ends at its deadline, here and there', async () => {
    const { seen, unit } = makeService()
    await using _ = await serve(nats.bus, unit)
    const before = Date.now()
    const { got, error } = await readAll(client(nats.bus, numbers).silent({}, { timeoutMs: 200 }))
    expect(Date.now() - before).toBeGreaterThanOrEqual(200)
    expect(got).toEqual([1])
    expect(error?.code).toBe('DEADLINE_EXCEEDED')
    await until(() => seen.finished === 1)
  })

  it('fails at its first item when the request is rejected or nobody answers', async () => {
    const api = client(nats.bus, numbers)
    expect((await readAll(api.count({ to: 1 }))).error?.code).toBe('NO_RESPONDERS')
    await using _ = await serve(nats.bus, makeService().unit)
    expect((await readAll(api.count({ to: 'x' as never }))).error?.code).toBe('INVALID_INPUT')
    expect((await readAll(api.count({ to: 1, x: 'y'.repeat(99_999) } as never))).error?.code).toBe('PAYLOAD_TOO_LARGE')
  })
})
