// On shared subjects anybody may say anything: every place that reads an answer takes a stranger's for none, and the
// connection that everything in the process uses goes on.
import { describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { type Bus, ensureStream, now, persist, streamWriter } from '../src/bus/index.ts'
import { contract } from '../src/contract/index.ts'
import { fleet } from '../src/heartbeat/index.ts'
import { client, discover, discoverContract } from '../src/service/index.ts'
import { inspectProcessor } from '../src/stream/index.ts'
import { codeOf, until, withNats } from './support/nats.ts'

const answers = ['ok', '"ok"', '{', 'null', '[]', '{}', '{"error":"no"}', '{"seq":1}', '{"stream":"S","seq":"1"}', '']

describe('a stranger who answers', () => {
  const nats = withNats()

  /** Everything said on a subject is answered with all of the above, by another connection. */
  async function strangerOn(subject: string): Promise<AsyncDisposable> {
    const stranger = await nats.connect()
    const subscription = stranger.subscribe(subject, (message) => {
      if (message.reply) for (const answer of answers) stranger.publish(message.reply, Buffer.from(answer))
    })
    await stranger.flush()
    return { [Symbol.asyncDispose]: () => subscription.drain() }
  }

  async function lives(bus: Bus): Promise<void> {
    bus.subscribe('echo', (message) => message.respond(message.data))
    await bus.flush()
    expect((await bus.request('echo', Buffer.from('pong'), { deadline: now() + 3_000 })).string()).toBe('pong')
    expect(bus.failures).toBe(0)
  }

  it('to what is published into a stream: the word that counts is the server’s', async () => {
    const bus = await nats.connect()
    await ensureStream(bus, { name: 'TAKEN', subjects: ['taken.*'] })
    await using _ = await strangerOn('taken.*')
    for (let sequence = 1; sequence <= 20; sequence++) {
      const stored = await persist(bus, 'taken.one', Buffer.from('x'), { deadline: now() + 5_000 })
      expect(stored).toEqual({ stream: 'TAKEN', sequence, duplicate: false })
    }
    const writer = await streamWriter(bus, 'TAKEN')
    for (let i = 0; i < 20; i++) {
      writer.add('taken.two', Buffer.from('y'))
      await writer.flush()
    }
    expect(writer.acknowledged).toBe(40)
    await lives(bus)
  })

  it('where no stream takes what is published: it fails with a code when its time is over', async () => {
    const bus = await nats.connect()
    await using _ = await strangerOn('untaken')
    const reported = persist(bus, 'untaken', Buffer.from('x'), { deadline: now() + 300 })
    expect(await codeOf(reported)).toBe('DEADLINE_EXCEEDED')
    await lives(bus)
  })

  it('to questions about processors and services: nobody is found', async () => {
    const bus = await nats.connect()
    await using _ = await strangerOn('proc.none.inspect')
    await using __ = await strangerOn('$SRV.>')
    expect(await inspectProcessor(bus, 'none', 300)).toEqual([])
    expect(await discover(bus, { waitMs: 150 })).toEqual([])
    expect(await codeOf(discoverContract(bus, 'none'))).toBe('NO_RESPONDERS')
    await lives(bus)
  })

  it('to a call: it fails with a code', async () => {
    const bus = await nats.connect()
    const shop = contract('shop', {
      version: '1.0.0',
      endpoints: { get: { in: z.object({}), out: z.object({ id: z.string() }) } },
    })
    await using _ = await strangerOn('svc.shop.get')
    expect(await codeOf(client(bus, shop).get({}))).toBe('MALFORMED_PAYLOAD')
    await lives(bus)
  })

  it('as a service with metadata of its own kind: it is found, and a contract made of it holds what can be used', async () => {
    const bus = await nats.connect()
    const stranger = await nats.connect()
    const offers = { events: 'null', jobs: '{"pack":7,"ship":{}}' }
    const identity = { name: 'odd', id: 'x', version: '1.0.0', metadata: { ...offers, weight: 12 } }
    for (const verb of ['INFO', 'STATS']) {
      stranger.subscribe(`$SRV.${verb}.odd`, (message) =>
        message.respond(JSON.stringify({ ...identity, endpoints: [null, { name: 'get', subject: 'odd.get' }] })),
      )
    }
    await stranger.flush()
    expect(await discover(bus, { service: 'odd' })).toMatchObject([
      { name: 'odd', metadata: offers, endpoints: [{ name: 'get', metadata: {} }] },
    ])
    const { definition } = await discoverContract(bus, 'odd')
    expect([Object.keys(definition.endpoints ?? {}), Object.keys(definition.jobs ?? {})]).toEqual([['get'], ['ship']])
  })
})

describe('a listener to the fleet that throws', () => {
  const nats = withNats()

  it('keeps the other listeners and the connection from nothing', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue()
    const bus = await nats.connect()
    await using watching = await fleet(bus)
    const heard: string[] = []
    watching.on(() => {
      throw new Error('a bug')
    })
    watching.on(async () => {
      throw new Error('a bug, later')
    })
    watching.on(({ transition, member }) => heard.push(`${member.beat.instance} ${transition}`))
    const beat = { site: 's', unit: 'u', kind: 'k', version: '1', state: 'ready', revision: 0, startedAt: 1, seq: 1 }
    for (const instance of ['a', 'b']) {
      const reported = { ...beat, instance, nextMs: 5_000, checks: [], vitals: {} }
      nats.bus.publish(`beat.s.u.${instance}`, Buffer.from(JSON.stringify(reported)))
    }
    await until(() => heard.length === 2)
    await until(() => bus.failures === 4)
    expect(heard).toEqual(['a joined', 'b joined'])
    warned.mockRestore()
  })
})
