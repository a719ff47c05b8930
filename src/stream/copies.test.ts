// Copies that the server makes for a processor: one that stands still is told and begun again.
import { jetstreamManager, type StreamSource } from '@nats-io/jetstream'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { until, withNats } from '../../test/support/nats.ts'
import { readSpan, renewSource } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { client, serve } from '../service/index.ts'
import { event, inspectProcessor, processor, view } from './index.ts'

const nats = withNats()

it('that stand still count as lag, are told, and go on without a row lost or doubled', {
  timeout: 60_000,
}, async () => {
  const reported = contract('copied', {
    version: '1.0.0',
    events: { read: { payload: z.object({ room: z.string(), n: z.number() }), key: 'room', durable: true } },
  })
  const unit = await serve(
    nats.bus,
    processor(
      'copied',
      { from: event(reported, 'read'), to: view('copied', { key: 'room' }), partitions: 2, checkpointMs: 100 },
      (input) => input.keyBy((r) => r.room).rows(({ n }) => ({ n })),
    ),
  )
  const api = client(nats.bus, reported)
  let sent = 0
  const send = async (count: number) => {
    for (let i = 0; i < count; i++, sent++) await api.read.publish({ room: `r${sent % 8}`, n: sent })
  }
  const rows = async () => {
    const found: number[] = []
    for await (const { data } of readSpan(nats.bus, 'VIEW_copied'))
      found.push(JSON.parse(Buffer.from(data).toString()).n)
    return found.sort((a, b) => a - b)
  }
  const all = () => Array.from({ length: sent }, (_, i) => i)
  await send(20)
  await until(async () => (await rows()).length === sent)

  // to the outside a source that is not there is one that stands still: the server says lag 0, or nothing
  const { streams } = await jetstreamManager(nats.bus.nats)
  const takeOut = async (stream: string) => {
    const { config } = await streams.info(stream)
    await streams.update(stream, { ...config, sources: config.sources!.slice(1) })
    const [{ name, subject_transforms: to }] = config.sources! as [StreamSource]
    return [name, to![0]!.src!] as const
  }
  await takeOut('VIEW_copied')
  await send(20)
  await until(() => unit.vitals!().handled === sent)
  const origin = await takeOut('IN_copied')
  await send(20)
  await until(() => unit.vitals!().lag! > 0, 15_000)
  expect((await inspectProcessor(nats.bus, 'copied'))[0]!.copies.length).toBeGreaterThan(0)
  const check = () => Object.values(unit.checks!).map(({ run }) => run())
  await until(() => check().some((answer) => typeof answer === 'string'), 15_000)

  await until(async () => (await rows()).length >= sent, 40_000)
  expect(await rows()).toEqual(all())
  await until(() => unit.vitals!().lag === 0 && check().every((answer) => answer === true), 15_000)

  // one that has not stopped is begun again as exactly
  await renewSource(nats.bus, 'IN_copied', ...origin)
  await send(20)
  await until(async () => (await rows()).length >= sent)
  expect(await rows()).toEqual(all())
  await unit.drain()
})
