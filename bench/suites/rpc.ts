// Request/reply, 128 bytes of JSON: one call at a time, and 256 in flight. Caller and server are processes of their own.
import { embeddedNats } from '../../src/bus/index.ts'
import { Child } from '../processes.ts'
import { alternate, type Options, type Result, ratio } from '../result.ts'

const subjects = ['raw', 'myelin', 'request', 'moleculer', 'nestjs'] as const

export async function run({ rounds, seconds, say }: Options): Promise<Result> {
  await using server = await embeddedNats({ jetstream: false })
  const figures: Record<string, number> = {}
  const ratios: Record<string, number> = {}
  await using stack = new AsyncDisposableStack()
  const callers = new Map<string, Child>()
  for (const subject of subjects) {
    stack.use(await Child.start(`subjects/rpc-${subject}.ts`, 'serve', server.url))
    callers.set(subject, stack.use(await Child.start(`subjects/rpc-${subject}.ts`, 'call', server.url)))
  }
  for (const inFlight of [1, 256]) {
    const medians = await alternate(subjects, rounds, async (subject, round) => {
      const perSecond = await callers.get(subject)!.ask<number>({ inFlight, seconds })
      say(`${inFlight} in flight, round ${round || 'warm-up'}, ${subject}: ${Math.round(perSecond)}/s`)
      return perSecond
    })
    for (const subject of subjects) {
      figures[`${subject}_${inFlight}_per_second`] = medians[subject]
      if (subject !== 'myelin') ratios[`myelin_vs_${subject}_${inFlight}`] = ratio(medians.myelin, medians[subject])
    }
  }
  return { bench: 'rpc', figures, ratios }
}
