// What is declared in YAML gives what the same program in TypeScript gives.
import { Ajv2020 } from 'ajv/dist/2020.js'
import { streamInfo } from 'myelin/bus'
import { compositionJsonSchema, loadComposition, up } from 'myelin/runtime'
import { replay } from 'myelin/stream'
import { createLogger, serve } from 'myelin/unit'
import { expect, it } from 'vitest'
import { until, withNats } from '../../test/support/nats.ts'
import { rowsOf } from '../../test/support/rows.ts'
import delays from '../airline/units/delays.ts'

const nats = withNats()
const log = createLogger()

it('gives the rows that the program in TypeScript gives', async () => {
  const { bus } = nats
  const loaded = await loadComposition(import.meta.dirname)
  await using running = await up(bus, loaded, {
    config: { feed: { speed: 'max', limit: 20_000 }, gateway: { port: 0 } },
    log,
  })
  await using typed = await serve(bus, delays, { config: { effects: false }, log })
  await Promise.all([running.finished('feed'), running.finished('hourly'), typed.done])
  const rows = await rowsOf(bus, 'hourly')
  expect(rows.length).toBeGreaterThan(1_000)
  expect(rows).toEqual(await rowsOf(bus, 'delays'))

  const bad = rows.filter((row) => Number(row.flights) >= 10 && Number(row.late) >= 0.5)
  await until(async () => (await streamInfo(bus, 'VIEW_bad-hours'))?.state.last_seq === bad.length)
  const reported = bad.map(({ origin, hour, late }) => ({ origin, hour, late: `${Math.floor(Number(late) * 100)} %` }))
  expect(await rowsOf(bus, 'bad-hours')).toEqual(reported)

  const { port } = running.status().find(({ unit }) => unit === 'gateway')!.stats
  const reading = new AbortController()
  const response = await fetch(`http://127.0.0.1:${port}/streams/hourly?key=ATL`, { signal: reading.signal })
  const { value } = await response.body!.getReader().read()
  expect(Buffer.from(value!).toString()).toContain('retry:')
  reading.abort()

  // time travel works for it as for any other
  const { config, use } = loaded.composition.units.hourly!
  expect(use).toBe('myelin:processor')
  const { declaredProcessor } = await import('myelin/stream')
  const again = await replay(bus, declaredProcessor as never, {
    as: 'morning',
    name: 'hourly',
    config,
    until: '2001-01-01T12:00:00Z',
    log,
  })
  expect(again.views).toEqual(['morning'])
  const morning = rows.filter(({ hour }) => String(hour) < '2001-01-01T12')
  expect(await rowsOf(bus, 'morning')).toEqual(morning)
})

it('is what the schema for editors allows', async () => {
  const { composition } = await loadComposition(import.meta.dirname)
  const validate = new Ajv2020({ allowUnionTypes: true, strict: false, validateFormats: false }).compile(
    await compositionJsonSchema(),
  )
  expect(validate(composition), JSON.stringify(validate.errors)).toBe(true)
  const { hourly } = composition.units
  const wrong = { ...hourly!, config: { ...hourly!.config, window: { tumblin: '1h' } } }
  expect(validate({ ...composition, units: { hourly: wrong } })).toBe(false)
})
