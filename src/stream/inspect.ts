// Looking into a running processor: every instance answers on `proc.<processor>.inspect` with its partitions.
import type { Msg } from '@nats-io/nats-core'
import { type Bus, gather, now, readJsonObject } from '../bus/internal.ts'
import type { CopyStatus } from './copies.ts'
import type { TaskStatus } from './task/status.ts'

export const inspectSubject = (processor: string) => `proc.${processor}.inspect`

/** A partition, and the subjects of the processor's input that it reads. */
export interface PartitionStatus extends TaskStatus {
  readonly subjects: readonly string[]
}

/** What a program reads of a stream. */
export interface Read {
  readonly stream: string
  readonly subject: string
  /** A table that every partition has as a whole. */
  readonly everywhere?: boolean
}

/** What one instance answers. */
export interface Inspection {
  readonly instance: string
  /** Instances that share the partitions. */
  readonly members: number
  /** The streams that the program reads. */
  readonly reads: readonly Read[]
  /** The stream that the partitions read: the only source's own, or one that the server fills from the sources. */
  readonly input: string
  /** Names of the views that it writes. */
  readonly views: readonly string[]
  /** Into how many parts its keys are cut. */
  readonly partitionCount: number
  /** What the server should have copied and did not, as the instance with partition 0 sees it. */
  readonly copies: readonly CopyStatus[]
  /** Those that this instance runs. */
  readonly partitions: readonly PartitionStatus[]
}

/** Answers for an instance. Call the result to stop. */
export function answerInspections(bus: Bus, processor: string, inspect: () => Inspection): () => void {
  const subscription = bus.subscribe(inspectSubject(processor), (message) => {
    if (message.reply) bus.publish(message.reply, Buffer.from(JSON.stringify(inspect())))
  })
  return () => subscription.unsubscribe()
}

/** Asks all instances of a processor; those that answer within the time. Nobody: an empty list. */
export async function inspectProcessor(bus: Bus, processor: string, timeoutMs = 1_000): Promise<Inspection[]> {
  const found: Inspection[] = []
  const until = ({ data }: Msg) => {
    const answer = readJsonObject(data)
    // on a subject that anybody may answer on
    if (
      typeof answer?.instance !== 'string' ||
      typeof answer.members !== 'number' ||
      !Array.isArray(answer.partitions)
    ) {
      return false
    }
    const inspection = answer as unknown as Inspection
    found.push(inspection)
    return found.length >= inspection.members
  }
  const asked = gather(bus, inspectSubject(processor), new Uint8Array(0), { until, deadline: now() + timeoutMs })
  await asked.ended.catch(() => undefined) // whoever answered until now
  return found.sort((a, b) => a.instance.localeCompare(b.instance))
}
