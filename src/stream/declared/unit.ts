// The unit `myelin:processor`: a processor for people who write no TypeScript. Its whole program is its configuration.
import { defineUnit, type Unit } from '../../unit/internal.ts'
import type { AnyAggregate } from '../aggregates/index.ts'
import { enrich } from '../enrich.ts'
import { processor } from '../processor.ts'
import { Stream } from '../program/index.ts'
import { messages, type Source } from '../sources.ts'
import { view } from '../view.ts'
import { declaredAggregate } from './aggregates.ts'
import type { Item } from './item.ts'
import { type Items, itemsOf } from './items.ts'
import { type Located, locate } from './locate.ts'
import { Declared, storedTime, windowShape } from './schema.ts'

export const declaredProcessor: Unit<Declared> = defineUnit<Declared>({
  kind: 'processor',
  name: 'processor',
  description: 'A stream processor that is declared: where from, what counts, which windows, what of them, where to.',
  config: Declared,
  start: async (host) => {
    const { config, bus } = host
    const name = config.name ?? host.unit
    const located = await locate(bus, config.from, `processor '${name}': from`)
    const items = await itemsOf(config)
    return programOf(name, config, sourceOf(located, items)).start({ ...host, config: config.replay ?? {} })
  },
})

// evaluating takes no waiting, so that more at once would gain nothing
const concurrency = 8

function sourceOf({ stream, subject }: Located, { extract, ask }: Items): Source<Item | undefined> {
  const source = messages(stream, { subject })
  if (!extract) return enrich(source, ask, (_value, item: Item | undefined) => item, { concurrency })
  return { ...source, decode: (message, keyOf) => extract(source.decode(message, keyOf)) } as Source<Item | undefined>
}

function programOf(name: string, config: Declared, source: Source<Item | undefined>) {
  const { to, window, aggregate, time, outOfOrder, maxAhead, lateness, emit, as, partitions, checkpointMs } = config
  const { maxAge, replicas } = to
  const target = view(to.view, {
    key: to.key,
    ...(maxAge === undefined ? {} : { maxAge }),
    ...(replicas === undefined ? {} : { replicas }),
  })
  const options = { from: source, to: target, partitions, checkpointMs }
  return processor(name, options, (found) => {
    const stream = declaredLine(found, config)
    // windows of so many events need no time; whoever has none gets the server's
    const timed = stream.time(time === undefined || time === storedTime ? 'stored' : (item) => item.time, {
      outOfOrder,
      maxAhead,
    })
    const keyed = timed.keyBy((item) => item.key)
    if (!aggregate) return keyed.rows((item) => item.value as object)
    const aggregates = aggregatesOf(aggregate)
    if (!window) return keyed.aggregate(aggregates)
    return keyed.window(windowShape(window), { lateness, as, emit: emit as 'closed' }).aggregate(aggregates)
  })
}

/** The values that count. What their expressions are belongs to the program: a checkpoint of others is not loaded. */
function declaredLine(found: Stream<Item | undefined>, { where, map, time, key, to }: Declared): Stream<Item> {
  const texts = Object.entries({ where, map, time, key: key ?? to.key }).filter(([, text]) => text !== undefined)
  const order = found.node.plan.nextOrder()
  return new Stream<Item>(
    found.node.step((dataflow, out, follow) => {
      for (const [name, text] of texts) dataflow.describe(order, `${name}: ${text}`)
      follow((item, timeMs) => {
        if (item !== undefined) out(item, timeMs)
      })
    }),
  )
}

function aggregatesOf(declared: NonNullable<Declared['aggregate']>): Record<string, AnyAggregate<Item>> {
  let reading = 0
  return Object.fromEntries(
    Object.entries(declared).map(([name, one]) => {
      const { text, readings, make } = declaredAggregate(one)
      const read = readings.map(() => {
        const at = reading++
        return ({ values }: Item) => values[at] as never
      })
      const aggregate = make(read)
      // with all that is said of it: another quantile is another program
      return [name, { ...aggregate, kind: text }]
    }),
  )
}
