import { expect, it } from 'vitest'
import { z } from 'zod'
import { until, withNats } from '../../test/support/nats.ts'
import { contract, diffContracts, shapeOf } from '../contract/internal.ts'
import { createLogger, type Logger } from '../unit/internal.ts'
import { contractOf, discover, serve, service } from './index.ts'

const nats = withNats()

const text = z.string()
const parts = (reply: z.ZodType) => ({
  endpoints: { get: { in: z.object({ a: text }), out: reply, errors: { NONE: z.object({ a: text }) } } },
  events: { sold: { payload: z.object({ a: text }), key: 'a', durable: true as const } },
  jobs: { ship: { payload: z.object({ a: text }), unique: 'a' } },
})
const desk = (name: string, version: string, reply: z.ZodType) =>
  service(contract(name, { version, ...parts(reply) }), { get: () => ({ a: 'x' }) as never, ship: () => undefined })

/** A logger that keeps what it is told. */
function listening(): { log: Logger; warned: string[] } {
  const warned: string[] = []
  const log: Logger = {
    ...createLogger(),
    warn: (_fields: object, message: string) => void warned.push(message),
    child: () => log,
  } as never
  return { log, warned }
}

it('a service that starts with a contract that breaks the running one of its major version reports it, once', async () => {
  const old = z.object({ a: text })
  await using _one = await serve(await nats.connect(), desk('desk', '1.0.0', old), { instance: 'one' })
  await using _two = await serve(await nats.connect(), desk('desk', '1.0.0', old), { instance: 'two' })
  const breaks = listening()
  await using _three = await serve(await nats.connect(), desk('desk', '1.1.0', z.object({ a: text.nullable() })), {
    instance: 'three',
    log: breaks.log,
  })
  await until(() => breaks.warned.length > 0)
  expect(breaks.warned).toEqual([
    expect.stringMatching(
      /^contract desk 1\.1\.0 breaks 1\.0\.0, which instance (one|two) runs: get\.reply\.a: may be null now, for callers; for all of it: npx myelin contract diff <its module> --running$/,
    ),
  ])
})

it('says nothing of the same contract, of additions, and of another major version', async () => {
  await using _one = await serve(await nats.connect(), desk('till', '1.0.0', z.object({ a: text })), {
    instance: 'one',
  })
  const [same, more, major] = [listening(), listening(), listening()]
  const start = async (version: string, reply: z.ZodType, log: Logger) =>
    serve(await nats.connect(), desk('till', version, reply), { log })
  await using _same = await start('1.0.0', z.object({ a: text }), same.log)
  await using _more = await start('1.1.0', z.object({ a: text, b: text }), more.log)
  await using _major = await start('2.0.0', z.object({ b: text }), major.log)
  // a breaking one last: when it is reported, the others had their time
  const breaks = listening()
  await using _breaks = await start('1.2.0', z.object({ b: text }), breaks.log)
  await until(() => breaks.warned.length > 0)
  expect([same.warned, more.warned, major.warned]).toEqual([[], [], []])
})

it('what a service says of itself is as good as its contract, for a comparison', async () => {
  const unit = desk('bank', '1.0.0', z.object({ a: text, at: z.iso.datetime() }))
  await using _running = await serve(await nats.connect(), unit)
  const [found] = await discover(nats.bus, { service: 'bank' })
  expect(diffContracts(shapeOf(contractOf(found!)), shapeOf(unit.contract))).toMatchObject({ changes: [] })
  expect(diffContracts(shapeOf(unit.contract), shapeOf(contractOf(found!)))).toMatchObject({ changes: [] })
})
