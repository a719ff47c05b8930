// Whatever comes in between and whenever the processor dies: its rows are those of the good events alone, the error
// output has the hostile ones, and nothing that others write into its view takes the place of a row.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { until, withNats } from '../../test/support/nats.ts'
import { runProgram } from '../../test/support/program.ts'
import { rowsOf } from '../../test/support/rows.ts'
import { ensureStream, now, persist, readSpan, streamInfo } from '../bus/internal.ts'
import { serve } from '../service/index.ts'
import {
  collect,
  count,
  errorStream,
  last,
  messages,
  processor,
  type Rows,
  readRejection,
  type Sink,
  type Stream,
  sum,
  tumbling,
  view,
  viewStream,
} from './index.ts'

const nats = withNats()
let names = 0

// biome-ignore lint/suspicious/noExplicitAny: hostile input has no type
type Anything = any

const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`

/** What is not an event: as text, or made by the program's own `map` of what it is told to. */
const hostile = fc.oneof(
  fc.constantFrom('', '{', 'null', '"text"', '{"key":"a"}', '{"key":"a","at":"gate 12"}', '\u0000'),
  fc.integer({ min: 1_001, max: 30_000 }).map((depth) => `{"key":"a","at":1,"value":${nested(depth)}}`),
  fc
    .constantFrom('a b', 'a.b', '>', 'x\r\nPUB evil 0', 'k'.repeat(5_000), '', '\ud800')
    .map((key) => JSON.stringify({ key, at: 1, value: 1 })),
  fc
    .constantFrom('bigint', 'cycle', 'map', 'function')
    .map((make) => JSON.stringify({ key: 'a', at: 1, value: 1, make })),
)
const good = fc
  .record({
    key: fc.constantFrom('a', 'b', 'é'),
    at: fc.integer({ min: 0, max: 5_000 }),
    value: fc.integer({ min: 0, max: 9 }),
  })
  .map((event) => JSON.stringify(event))

function made(event: Anything): Anything {
  switch (event.make) {
    case 'bigint':
      return { ...event, value: 1n }
    case 'map':
      return { ...event, value: new Map() }
    case 'function':
      return { ...event, value: () => 1 }
    case 'cycle': {
      const cyclic = { ...event }
      cyclic.value = cyclic
      return cyclic
    }
    default:
      return event
  }
}

const programs: Record<string, (input: Stream<Anything>) => Rows<Anything>> = {
  windows: (s) =>
    s
      .map(made)
      .time((e) => e.at, { outOfOrder: 10_000 })
      .keyBy((e) => e.key)
      .window(tumbling(1_000))
      .aggregate({ n: count(), latest: last((e) => e.value), all: collect((e) => e.value) }),
  rows: (s) =>
    s
      // a row with a function or a Map can be written: without it
      .map((e) => made(e.make === 'function' || e.make === 'map' ? { ...e, make: 'bigint' } : e))
      .time((e) => e.at)
      .keyBy((e) => e.key)
      .rows(({ at, value }) => ({ at, value })),
  totals: (s) =>
    s
      .map(made)
      .time((e) => e.at)
      .keyBy((e) => e.key)
      .aggregate({ n: count(), total: sum((e) => e.value) }),
}

const steps = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: good.map((text) => ({ good: text })) },
    { weight: 3, arbitrary: hostile.map((text) => ({ bad: text })) },
    { weight: 1, arbitrary: fc.constant({ kill: true }) },
    { weight: 1, arbitrary: fc.constantFrom('a', 'b').map((key) => ({ foreign: key })) },
  ),
  { minLength: 5, maxLength: 40 },
)

it('rows are those of the good events, and the error output has the others', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...Object.keys(programs)), steps, async (which, steps) => {
      names += 1
      const name = `fuzz${names}`
      const stream = `S_${name}`
      await ensureStream(nats.bus, { name: stream, subjects: [`s.${name}`] })
      const unit = processor(
        name,
        {
          from: messages(stream, { subject: `s.${name}` }),
          to: view(name, { key: 'room' }),
          checkpointMs: 10,
          termMs: 300,
        },
        programs[which] as never,
      )
      const put = (subject: string, text: string) =>
        persist(nats.bus, subject, Buffer.from(text), { deadline: now() + 5_000 })
      let bus = await nats.connect()
      let running = await serve(bus, unit)
      let sent = 0
      for (const step of [...steps, { good: '{"key":"end","at":100000,"value":0}' }]) {
        if ('good' in step || 'bad' in step) {
          await put(`s.${name}`, 'good' in step ? step.good : step.bad)
          sent += 1
        } else if ('foreign' in step) await put(`view.${name}.${step.foreign}`, '{"room":"a","forged":true}')
        else {
          await bus.nats.close() // it dies without a word
          bus = await nats.connect()
          running = await serve(bus, unit)
        }
      }
      await until(() => running.stats!().position === sent, 20_000)
      await running.drain()
      // what came into the view last is found at the next start; rows that it kept from being written are written then
      const last = await serve(nats.bus, unit)
      await until(() => last.stats!().position === sent, 20_000)
      await last.drain()
      const model = runProgram(
        (input) => programs[which]!(input).to(view(name, { key: 'room' }) as never) as Sink,
        [...steps, { good: '{"key":"end","at":100000,"value":0}' }].flatMap((step) =>
          'good' in step ? [{ value: JSON.parse(step.good), storedMs: now() }] : [],
        ),
      )
      expect(await rowsOf(nats.bus, name)).toEqual(
        model.rows.map(({ key, value }) => JSON.parse(JSON.stringify({ room: key, ...value }))),
      )
      const bad: string[] = []
      let foreign = 0
      if (await streamInfo(nats.bus, errorStream(name))) {
        for await (const message of readSpan(nats.bus, errorStream(name))) {
          const { source, data } = readRejection(message)
          if (source.stream === viewStream(name)) foreign += 1
          else bad.push(Buffer.from(data).toString())
        }
      }
      expect(bad.sort()).toEqual(
        steps.flatMap((step) => ('bad' in step ? [Buffer.from(step.bad).toString()] : [])).sort(),
      )
      expect(foreign).toBe(steps.filter((step) => 'foreign' in step).length)
    }),
    { numRuns: Number(process.env.FUZZ_RUNS ?? 8), endOnFailure: true },
  )
})
