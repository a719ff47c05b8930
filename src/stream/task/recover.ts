// What a partition begins with: its checkpoint, if it has one, and where it goes on.
import { Checkpoints } from '../checkpoint.ts'
import type { Dataflow } from '../dataflow.ts'
import { type Place, type ResumeOptions, resume } from '../resume.ts'
import type { TaskOptions } from './options.ts'

export interface Recovered {
  readonly checkpoints: Checkpoints
  readonly dataflow: Dataflow
  readonly place: Place
  /** There was no checkpoint. */
  readonly fresh: boolean
}

/** `dataflow` makes one without state. @throws MyelinError STREAM_MISMATCH, STREAM_TRUNCATED */
export async function recover(
  options: TaskOptions,
  { where, reject, dataflow: make }: Pick<ResumeOptions, 'where' | 'reject'> & { readonly dataflow: () => Dataflow },
): Promise<Recovered> {
  const { bus, log, processor, partition, partitions } = options
  const { checkpoints, dataflow, found } = await Checkpoints.open(bus, {
    processor,
    ...(partitions === 1 ? {} : { partition }),
    log,
    dataflow: make,
  })
  const place = await resume({ ...options, where, shape: dataflow.shape, found, reject })
  checkpoints.identity = place.identity
  return { checkpoints, dataflow, place, fresh: found === undefined }
}
