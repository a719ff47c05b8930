// The kind `myelin:processor`.
import { ErrorOutput, nameOf } from '../../bus/internal.ts'
import { eventStream } from '../../contract/internal.ts'
import { defineKind, type Stored } from '../../unit/internal.ts'
import { checkpointStream } from '../checkpoint.ts'
import { inputStream, inputSubjects } from '../input.ts'
import { inspectSubject } from '../inspect.ts'
import { viewStream, viewSubject } from '../view.ts'
import type { Declared } from './schema.ts'
import { declaredProcessor } from './unit.ts'

export const processorKind = defineKind<Declared>({
  use: 'myelin:processor',
  summary: 'Turns a stream of events into a view: filters, maps, counts in windows of event time.',
  guarantee: 'Every event counts once, whatever crashes; any number of instances share the partitions.',
  example: `delays:
  use: myelin:processor
  config:
    from: { event: flights.departed }
    time: date
    key: origin
    window: { tumbling: 1h }
    aggregate:
      flights: { count: true }
      late: { share: delay > 15 }
    to: { view: delays, key: origin }`,
  unit: declaredProcessor,
  access(config, { unit }) {
    const name = config.replay?.as ?? config.name ?? unit
    const view = config.replay?.as ?? config.to.view
    const { partitions } = config
    const several = partitions > 1
    const each = Array.from({ length: partitions }, (_, partition) => partition)
    const errors = new ErrorOutput('processor', name)
    return {
      publishes: [
        ...(several ? each.map((partition) => `viewpart.${view}.${partition}.*`) : [viewSubject(view, '*')]),
        ...each.map((partition) => `ckpt.${name}.${partition}.*`),
        ...(several ? inputSubjects(name) : []),
        errors.subject,
      ],
      subscribes: [inspectSubject(name)],
      owns: {
        streams: [
          viewStream(view),
          ...(several ? each.map((partition) => viewStream(view, partition)) : []),
          ...(several ? each.map((partition) => checkpointStream(name, partition)) : [checkpointStream(name)]),
          ...(several ? [inputStream(name)] : []),
          errors.stream,
        ],
        buckets: [],
        consumers: [],
      },
      reads: { ...sourceOf(config.from), buckets: [nameOf('bucket', 'PARTITIONS')] },
    }
  },
})

function sourceOf({ event, view, stream }: Declared['from']): Stored {
  const [contract = '', name = ''] = event?.split('.') ?? []
  const from = event !== undefined ? eventStream(contract, name) : view !== undefined ? viewStream(view) : stream!
  return { streams: [from], buckets: [], consumers: [] }
}
