// The clocks that the partitions of a processor have in common.
import { Alignment } from '../alignment.ts'
import type { Dataflow } from '../dataflow.ts'
import type { Scout } from '../scout.ts'
import type { TaskOptions } from './options.ts'

export interface SharedClocks {
  readonly alignment: Alignment
  readonly scout: Scout
  readonly dataflow: Dataflow
}

/** Begins to exchange them: from where this partition stands, with what its own clocks say there. */
export async function shareClocks(
  scout: Scout,
  options: TaskOptions,
  from: { readonly dataflow: Dataflow; readonly input: number; readonly inputMs: number },
  backlog: { readonly behind: boolean },
  onProgress: () => void,
): Promise<SharedClocks> {
  const { bus, log, processor, partition, partitions, input } = options
  const { dataflow, input: position, inputMs: storedMs } = from
  const alignment = await Alignment.open({
    bus,
    log,
    processor,
    partition,
    partitions,
    stream: input.stream,
    subject: input.subject(partition),
    position,
    clocks: [...dataflow.times].map(([clock, ms]) => ({ sequence: position, clock, ms, storedMs })),
    behind: () => backlog.behind,
    onProgress,
  })
  return { alignment, scout, dataflow }
}
