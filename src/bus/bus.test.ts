import { describe, expect, it } from 'vitest'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { type BusEvent, header, headerLines, readHeaders } from './internal.ts'

const bytes = (text: string) => Buffer.from(text)
const soon = () => Date.now() + 5_000
let names = 0
const unique = () => `t.${++names}`

describe('publishing and subscribing', () => {
  const nats = withNats({ maxPayloadBytes: 4_096 })

  it('brings every message to every subscriber, in order', async () => {
    const subject = unique()
    const other = await nats.connect()
    const seen: string[][] = [[], []]
    nats.bus.subscribe(subject, (message) => seen[0]!.push(message.string()))
    const second = other.subscribe(subject, (message) => seen[1]!.push(message.string()))
    await other.flush()
    for (let i = 0; i < 100; i++) nats.bus.publish(subject, bytes(String(i)))
    const all = Array.from({ length: 100 }, (_, i) => String(i))
    await until(() => seen.every((list) => list.length === 100))
    expect(seen).toEqual([all, all])
    expect(second).toMatchObject({ subject, received: 100 })
  })

  it('shares the messages among the members of a queue group', async () => {
    const subject = unique()
    const counts = [0, 0, 0]
    for (const i of counts.keys()) {
      const member = await nats.connect()
      member.subscribe(subject, () => void counts[i]!++, { queue: 'workers' })
      await member.flush()
    }
    for (let i = 0; i < 300; i++) nats.bus.publish(subject, bytes('x'))
    await until(() => counts.reduce((sum, n) => sum + n) === 300)
    await nats.bus.flush()
    expect(counts.reduce((sum, n) => sum + n)).toBe(300)
    for (const count of counts) expect(count).toBeGreaterThan(0)
  })

  it('ends a subscription at once with unsubscribe, and after what was sent with drain', async () => {
    const subject = unique()
    let seen = 0
    const subscription = nats.bus.subscribe(subject, () => void seen++)
    for (let i = 0; i < 10; i++) nats.bus.publish(subject, bytes('x'))
    await subscription.drain()
    expect(seen).toBe(10)
    await subscription.drain()
    nats.bus.subscribe(subject, () => void seen++).unsubscribe()
    nats.bus.publish(subject, bytes('x'))
    await nats.bus.flush()
    expect(seen).toBe(10)
  })

  it('takes messages up to the limit of the server and refuses larger ones, headers included', async () => {
    const subject = unique()
    const sizes: number[] = []
    nats.bus.subscribe(subject, (message) => sizes.push(message.data.length))
    expect(nats.bus.maxPayloadBytes).toBe(4_096)
    nats.bus.publish(subject, Buffer.alloc(4_096))
    const lines = headerLines({ name: 'é'.repeat(100) })
    const room = 4_096 - Buffer.byteLength(`NATS/1.0\r\n${lines}\r\n`)
    nats.bus.publish(subject, Buffer.alloc(room), lines)
    for (const tooLarge of [
      () => nats.bus.publish(subject, Buffer.alloc(4_097)),
      () => nats.bus.publish(subject, Buffer.alloc(room + 1), lines),
    ])
      expect(tooLarge).toThrow(
        expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE', data: { limit: 4_096, size: 4_097 } }),
      )
    expect(await codeOf(nats.bus.request(subject, Buffer.alloc(4_097)))).toBe('PAYLOAD_TOO_LARGE')
    await nats.bus.flush()
    await until(() => sizes.length === 2)
    expect(sizes).toEqual([4_096, room])
    expect(nats.bus.connected).toBe(true)
  })

  it('refuses everything after close, which may be called twice', async () => {
    const bus = await nats.connect()
    const waiting = codeOf(bus.request('nobody.yet', bytes('x'), { deadline: soon() }))
    const events: string[] = []
    bus.on(({ type }) => events.push(type))
    const closing = bus.close()
    expect(bus.close()).toBe(closing)
    await closing
    expect(await waiting).toBe('CLOSED')
    expect(await bus.closed()).toBeUndefined()
    expect(bus.connected).toBe(false)
    expect(() => bus.publish('x', bytes('x'))).toThrow(expect.objectContaining({ code: 'CLOSED' }))
    expect(() => bus.subscribe('x', () => {})).toThrow(expect.objectContaining({ code: 'CLOSED' }))
    expect(await codeOf(bus.request('x', bytes('x')))).toBe('CLOSED')
    await until(() => events.includes('closed'))
  })

  it('handles what had arrived before it closes', async () => {
    const subject = unique()
    const bus = await nats.connect()
    let seen = 0
    bus.subscribe(subject, () => void seen++)
    await bus.flush()
    for (let i = 0; i < 50; i++) bus.publish(subject, bytes('x'))
    await bus.close()
    expect(seen).toBe(50)
  })

  it('tells a publisher to wait when the server is behind, and when it may go on', async () => {
    const bus = await nats.connect({ maxPendingBytes: 10_000 })
    expect(bus.flow()).toBeUndefined()
    for (let i = 0; i < 10; i++) bus.publish('flow', Buffer.alloc(1_000))
    expect(bus.congested).toBe(true)
    const flow = bus.flow()
    expect(bus.flow()).toBe(flow)
    await flow
    expect(bus.congested).toBe(false)
    expect(bus.flow()).toBeUndefined()
  })
})

describe('requests', () => {
  const nats = withNats()
  const answer = (subject: string) => nats.bus.subscribe(subject, (message) => message.respond(message.data))

  it('resolve with the first reply', async () => {
    const subject = unique()
    answer(subject)
    answer(subject)
    const replies = Array.from({ length: 50 }, (_, i) => nats.bus.request(subject, bytes(String(i))))
    expect((await Promise.all(replies)).map((message) => message.string())).toEqual(replies.map((_, i) => String(i)))
    expect(nats.bus.requests.inFlight).toBe(0)
  })

  it('fail at once when nobody answers on the subject', async () => {
    const error = await nats.bus.request(unique(), bytes('x'), { deadline: Date.now() + 60_000 }).catch((e) => e)
    expect(error).toMatchObject({ code: 'NO_RESPONDERS', retriable: true })
  })

  it('fail when their deadline passes, even one that passed before, and ignore a late reply', async () => {
    const subject = unique()
    const late: (() => void)[] = []
    nats.bus.subscribe(subject, (message) => late.push(() => void message.respond(bytes('late'))))
    const deadline = Date.now() + 50
    expect(await codeOf(nats.bus.request(subject, bytes('x'), { deadline }))).toBe('DEADLINE_EXCEEDED')
    expect(Date.now()).toBeGreaterThanOrEqual(deadline)
    expect(await codeOf(nats.bus.request(subject, bytes('x'), { deadline: 0 }))).toBe('DEADLINE_EXCEEDED')
    await until(() => late.length > 0)
    for (const respond of late) respond()
    await nats.bus.flush()
    expect(nats.bus.requests.inFlight).toBe(0)
  })

  it('are cancelled by a signal, before or after they began', async () => {
    const subject = unique()
    const arrived = new Promise<void>((resolve) => void nats.bus.subscribe(subject, () => resolve()))
    const abort = new AbortController()
    const call = codeOf(nats.bus.request(subject, bytes('x'), { signal: abort.signal, deadline: soon() }))
    await arrived
    abort.abort()
    expect(await call).toBe('CANCELLED')
    expect(await codeOf(nats.bus.request(subject, bytes('x'), { signal: abort.signal }))).toBe('CANCELLED')
    expect(nats.bus.requests.inFlight).toBe(0)
  })

  it('beyond maxCallsInFlight are refused until one has ended', async () => {
    const bus = await nats.connect({ maxCallsInFlight: 2 })
    const subject = unique()
    const silent = nats.bus.subscribe(subject, () => {})
    await nats.bus.flush()
    const abort = new AbortController()
    const held = [1, 2].map(() => codeOf(bus.request(subject, bytes('x'), { signal: abort.signal, deadline: soon() })))
    expect(await codeOf(bus.request(subject, bytes('x')))).toBe('OVERLOADED')
    abort.abort()
    expect(await Promise.all(held)).toEqual(['CANCELLED', 'CANCELLED'])
    silent.unsubscribe()
    answer(subject)
    await nats.bus.flush()
    expect((await bus.request(subject, bytes('again'))).string()).toBe('again')
  })

  it('carry headers there and back', async () => {
    const subject = unique()
    nats.bus.subscribe(subject, (message) => {
      const got = readHeaders(message)
      nats.bus.publish(
        message.reply!,
        bytes('x'),
        headerLines({ ...got.all(), [header.tenant]: got.get('MYELIN-tenant') }),
      )
    })
    const lines = headerLines({
      [header.tenant]: 'ünïted',
      note: 'a: b; c',
      left: undefined,
      empty: '',
    })
    const reply = readHeaders(await nats.bus.request(subject, bytes('x'), { headerLines: lines }))
    expect(reply.all()).toEqual({ [header.tenant]: 'ünïted', note: 'a: b; c', empty: '' })
    expect(reply.get('left')).toBeUndefined()
    expect(reply.get('NOTE')).toBe('a: b; c')
    expect(reply.status).toBe(0)
  })
})

describe('a subject', () => {
  const nats = withNats()

  it('that is none, or longer than the server takes, is refused before it reaches the server', async () => {
    const dropped: string[] = []
    nats.bus.on(({ type }) => dropped.push(type))
    const long = `t.${'k'.repeat(5_000)}`
    for (const wrong of ['', 'a b', 'a\r\nPUB stolen 0\r\n', 'a\u0000']) {
      const refused = expect.objectContaining({ code: 'INVALID_OPTION' })
      expect(() => nats.bus.publish(wrong, bytes('x'))).toThrow(refused)
      expect(() => nats.bus.post(wrong, bytes('x'))).toThrow(refused)
      expect(() => nats.bus.subscribe(wrong, () => undefined)).toThrow(refused)
      expect(() => nats.bus.subscribe('fine', () => undefined, { queue: wrong })).toThrow(refused)
      expect(await codeOf(nats.bus.request(wrong, bytes('x')))).toBe('INVALID_OPTION')
    }
    expect(() => nats.bus.publish(long, bytes('x'))).toThrow(expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE' }))
    expect(await codeOf(nats.bus.request(long, bytes('x')))).toBe('PAYLOAD_TOO_LARGE')
    const longest = `t.${'k'.repeat(3_798)}`
    let heard = 0
    nats.bus.subscribe('t.*', (message) => {
      heard += 1
      message.respond(message.data)
    })
    expect((await nats.bus.request(longest, bytes('x'), { headerLines: 'a:b\r\n', deadline: soon() })).string()).toBe(
      'x',
    )
    expect([heard, dropped]).toEqual([1, []])
  })
})

describe('permissions', () => {
  const nats = withNats({
    extraConfig: `no_auth_user: ann
      authorization { users: [
        { user: ann, password: b, permissions: { publish: { deny: "secret" }, subscribe: { deny: "secret" } } }
      ] }`,
  })

  it('that are missing fail the call and are told as an event, not as silence', async () => {
    const events: BusEvent[] = []
    const stop = nats.bus.on((event) => events.push(event))
    expect(await codeOf(nats.bus.request('secret', bytes('x'), { deadline: soon() }))).toBe('PERMISSION_DENIED')
    nats.bus.subscribe('secret', () => {})
    await until(() => events.length === 2)
    stop()
    expect(events).toEqual(
      ['publish', 'subscription'].map((operation) => ({ type: 'permission-denied', operation, subject: 'secret' })),
    )
    expect(nats.bus.connected).toBe(true)
  })
})
