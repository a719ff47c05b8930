// Streams that somebody removes under a running system: they are made again by who needs them, or it is told.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { removeStream } from '../bus/internal.ts'
import { contract, triesStream } from '../contract/internal.ts'
import { client, deadLetters, serve, service } from './index.ts'

const nats = withNats({ maxPayloadBytes: 65_536 })
const payload = z.object({ n: z.number(), text: z.string().default('') })
const frail = contract('frail', {
  version: '1.0.0',
  jobs: { work: { payload, attempts: 3, backoff: { from: '10ms', to: '20ms' } } },
  events: { seen: { payload, durable: true } },
})

describe('removed under a running system', () => {
  it('the counts of tries and the dead letters are made again, and a job that fails ends as a dead letter', async () => {
    const attempts: number[] = []
    const work = ({ n }: { n: number }, { attempt }: { attempt: number }) => {
      if (n === 0) return
      attempts.push(attempt)
      if (n === 1 && attempt === 1)
        return removeStream(nats.bus, triesStream('frail')).then(() => Promise.reject(new Error('no')))
      throw new Error('no')
    }
    await using _ = await serve(nats.bus, service(frail, { work }))
    const api = client(nats.bus, frail)
    await removeStream(nats.bus, 'DLQ_frail')
    await removeStream(nats.bus, triesStream('frail'))
    await api.work.enqueue({ n: 1 })
    await until(async () => (await deadLetters(nats.bus, 'frail').catch(() => [])).length === 1, 20_000)
    expect(attempts).toEqual([1, 2, 3])
    await removeStream(nats.bus, 'DLQ_frail')
    // one that does not fit beside its reason
    await api.work.enqueue({ n: 2, text: 'x'.repeat(64_900) })
    await until(async () => (await deadLetters(nats.bus, 'frail').catch(() => [])).length === 1, 20_000)
    expect(attempts).toEqual([1, 2, 3, 1, 2, 3])
  })

  it('the stream of an event is made again by the next publisher, and subscribers go on there', async () => {
    const api = client(nats.bus, frail)
    const [each, shared] = [api.seen.subscribe(), api.seen.subscribe({ group: 'group' })]
    await Promise.all([each.ready(), shared.ready()])
    const next = [each.next(), shared.next()]
    await removeStream(nats.bus, 'EVT_frail_seen')
    await api.seen.publish({ n: 1 })
    for (const { value } of await Promise.all(next)) expect(value.payload.n).toBe(1)
    await each.close()
    await shared.close()
  })

  it('the stream of an event that nobody publishes is told to who waits for it', async () => {
    const each = client(nats.bus, frail).seen.subscribe()
    await each.ready()
    const next = codeOf(each.next())
    await removeStream(nats.bus, 'EVT_frail_seen')
    expect(await next).toBe('STREAM_NOT_FOUND')
    await each.close()
  })
})
