// A durable event's only writer: batches, exactly once and in order.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { comparePositions, isErrorCode, readSpan, streamInfo } from '../bus/internal.ts'
import { contract, eventStream, isEndOfInput } from '../contract/internal.ts'
import { client, on, serve, service } from './index.ts'

const nats = withNats()
let names = 0

function sensor(check: (value: number) => boolean | Promise<boolean> = () => true) {
  names += 1
  return contract(`written${names}`, {
    version: '1.0.0',
    events: {
      read: { payload: z.object({ room: z.string(), value: z.number().refine(check) }), key: 'room', durable: true },
      heard: { payload: z.object({ room: z.string() }) },
    },
  })
}

async function values(name: string): Promise<(number | 'end')[]> {
  const found: (number | 'end')[] = []
  for await (const message of readSpan(nats.bus, eventStream(name, 'read'))) {
    found.push(isEndOfInput(message) ? 'end' : JSON.parse(Buffer.from(message.data).toString()).value)
  }
  return found
}

describe('the writer of an event', () => {
  it('stores what it was given in order, with id and time, and says how far that is', async () => {
    const readings = sensor()
    {
      await using writer = await client(nats.bus, readings).read.writer({ batchSize: 100 })
      expect(comparePositions(writer.position, writer.stored)).toBe(0)
      for (let value = 0; value < 1_250; value++) {
        await writer.write({ room: `r${value % 3}`, value }, { id: `read-${value}`, time: new Date(value * 1_000) })
      }
      expect(writer.position).toBe('1250')
      await writer.flush()
      expect(comparePositions(writer.position, writer.stored)).toBe(0)
      await writer.write({ room: 'r0', value: 1_250 })
    }
    expect(await values(readings.name)).toEqual(Array.from({ length: 1_251 }, (_, value) => value))
    for await (const { headers, subject } of readSpan(nats.bus, eventStream(readings.name, 'read'), {
      from: 8,
      until: 8,
    })) {
      expect([subject, headers.get('ce-id'), headers.get('ce-time')]).toEqual([
        `evt.${readings.name}.read.r1`,
        'read-7',
        '1970-01-01T00:00:07.000Z',
      ])
    }
  })

  it('refuses a payload alone, and keeps the order where schemas take their time', async () => {
    const readings = sensor(async (value) => {
      await new Promise((resolve) => setTimeout(resolve, value === 3 ? 1 : 20 - value))
      return value !== 3
    })
    await using writer = await client(nats.bus, readings).read.writer()
    const written = Array.from({ length: 10 }, (_, value) =>
      codeOf(Promise.resolve(writer.write({ room: 'a', value }))),
    )
    expect((await Promise.all(written)).filter((code) => code !== undefined && isErrorCode(code))).toEqual([
      'INVALID_INPUT',
    ])
    await writer.end()
    expect(await values(readings.name)).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 9, 'end'])
  })

  it('leaves out an event that is too large, alone, and takes nothing once it is closed', async () => {
    const readings = sensor()
    const writer = await client(nats.bus, readings).read.writer()
    await writer.write({ room: 'a', value: 1 })
    const long = { room: 'a', value: 2, note: 'x'.repeat(nats.bus.maxPayloadBytes) }
    expect(await codeOf((async () => writer.write(long))())).toBe('PAYLOAD_TOO_LARGE')
    await writer.write({ room: 'a', value: 3 })
    await writer.close()
    expect(await codeOf((async () => writer.write({ room: 'a', value: 4 }))())).toBe('CLOSED')
    expect(await codeOf(writer.end())).toBe('CLOSED')
    expect(await values(readings.name)).toEqual([1, 3])
  })

  it('is told when somebody else writes, and loses nothing that was stored', async () => {
    const readings = sensor()
    const api = client(nats.bus, readings)
    const writer = await api.read.writer()
    await writer.write({ room: 'a', value: 1 })
    await writer.flush()
    await api.read.publish({ room: 'a', value: 2 })
    writer.write({ room: 'a', value: 3 })
    expect(await codeOf(writer.flush())).toBe('WRONG_SEQUENCE')
    await using next = await api.read.writer()
    await next.write({ room: 'a', value: 4 })
    await next.flush()
    expect(await values(readings.name)).toEqual([1, 2, 4])
    // what is not durable has no stream to write
    const core = api.heard as unknown as { writer(): Promise<unknown> }
    expect(await codeOf(core.writer())).toBe('INVALID_OPTION')
  })

  it('ends the input for processors alone: handlers and subscribers pass the end over', async () => {
    const readings = sensor()
    const seen: number[] = []
    const unit = await serve(
      nats.bus,
      service(contract(`listens-${readings.name}`, { version: '1.0.0' }), {
        on: [on(readings, 'read', {}, ({ value }) => void seen.push(value))],
      }),
    )
    const api = client(nats.bus, readings)
    const subscription = api.read.subscribe({ from: 'start' })
    await using writer = await api.read.writer()
    await writer.write({ room: 'a', value: 1 })
    await writer.end()
    await writer.write({ room: 'a', value: 2 })
    await writer.flush()
    await until(() => seen.length === 2)
    const heard: number[] = []
    for await (const { payload } of subscription) {
      heard.push(payload.value)
      if (heard.length === 2) break
    }
    expect([seen, heard, subscription.invalid]).toEqual([[1, 2], [1, 2], 0])
    await unit.drain()
    expect((await streamInfo(nats.bus, `DLQ_listens-${readings.name}`))?.state.messages ?? 0).toBe(0)
  })
})
