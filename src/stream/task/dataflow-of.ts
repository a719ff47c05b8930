// The dataflow of one partition: a processor's program with that partition's limits.
import { failure } from '../../bus/internal.ts'
import { Dataflow, type DataflowHost } from '../dataflow.ts'
import { partitionOf } from '../input.ts'
import type { TaskOptions } from './options.ts'

export function dataflowOf(options: TaskOptions, out: Pick<DataflowHost, 'startEffect' | 'reject'>): Dataflow {
  const { partition, partitions, processor, span, maxKeys, keysInMemory } = options
  const dataflow = new Dataflow({
    ...out,
    ...(partitions === 1 ? {} : { ownKey: (key: string) => checkOwner(key, partition, partitions) }),
    ...(span ? { span } : {}),
    ...(maxKeys === undefined ? {} : { maxKeys }),
    ...(keysInMemory === undefined ? {} : { keysInMemory }),
  })
  dataflow.describe(0, `${processor}/${partitions}`)
  for (const sink of options.sinks) sink.connect(dataflow)
  return dataflow
}

/** @throws MyelinError WRONG_PARTITION */
function checkOwner(key: string, partition: number, partitions: number): void {
  const owner = partitionOf(key, partitions)
  if (owner === partition) return
  throw failure(
    'WRONG_PARTITION',
    `keyBy gives "${key}", which belongs to partition ${owner} and not to ${partition}: a processor of several partitions is keyed as its input is; let another processor write an event under the new key first`,
  )
}
