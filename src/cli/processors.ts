// Naming the processors that there are, when one is named that is not.
import { type Bus, failure, type MyelinError, streamInfo } from '../bus/internal.ts'
import { fleet } from '../heartbeat/index.ts'
import { nearest } from '../runtime/index.ts'
import { checkpointStream } from '../stream/index.ts'

/** Whether a processor of that name has run on this server at some time. */
export async function hasRun(bus: Bus, processor: string): Promise<boolean> {
  for (const stream of [checkpointStream(processor), checkpointStream(processor, 0)]) {
    if (await streamInfo(bus, stream)) return true
  }
  return false
}

/** Nobody answers for a processor: what may have been meant, or what to do. */
export async function nobodyAnswers(bus: Bus, processor: string): Promise<MyelinError> {
  const beating = await unitsOfProcessors(bus)
  const near = nearest(
    processor,
    beating.filter((unit) => unit !== processor),
  )
  const stored =
    (await hasRun(bus, processor)) && `it ran here before (${checkpointStream(processor)}…); start it again`
  const what = [
    near ? `did you mean "${near}"?` : stored || 'it may be down, or have another name (its own, not its unit’s)',
    beating.length > 0 ? `processors that beat, by unit: ${beating.join(', ')}` : 'no processor beats here',
  ]
  return failure('NO_RESPONDERS', `no instance of processor "${processor}" answers: ${what.join('; ')}`)
}

async function unitsOfProcessors(bus: Bus): Promise<string[]> {
  await using watching = await fleet(bus)
  return [...new Set(watching.list({ kind: 'processor' }).map(({ beat }) => beat.unit))].sort()
}
