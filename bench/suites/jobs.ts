// A work queue on disk: stored jobs done and acknowledged per second, and stored per second, 512 at a time.
import { embeddedNats } from '../../src/bus/index.ts'
import { Child } from '../processes.ts'
import { alternate, median, type Options, type Result, ratio } from '../result.ts'

const subjects = ['raw', 'myelin'] as const

export async function run({ rounds, seconds, say }: Options): Promise<Result> {
  const jobs = Math.round(20_000 * seconds)
  const enqueued: Record<string, number[]> = { raw: [], myelin: [] }
  const medians = await alternate(subjects, rounds, async (subject, round) => {
    await using server = await embeddedNats()
    await using worker = await Child.start(`subjects/jobs-${subject}.ts`, 'work', server.url)
    const rates = await worker.ask<{ enqueued: number; consumed: number }>({ jobs })
    if (round > 0) enqueued[subject]!.push(rates.enqueued)
    say(
      `round ${round || 'warm-up'}, ${subject}: ${Math.round(rates.consumed)}/s done, ${Math.round(rates.enqueued)}/s stored`,
    )
    return rates.consumed
  })
  const stored = { raw: Math.round(median(enqueued.raw!)), myelin: Math.round(median(enqueued.myelin!)) }
  return {
    bench: 'jobs',
    figures: {
      raw_per_second: medians.raw,
      myelin_per_second: medians.myelin,
      raw_stored_per_second: stored.raw,
      myelin_stored_per_second: stored.myelin,
    },
    ratios: {
      myelin_vs_raw: ratio(medians.myelin, medians.raw),
      myelin_vs_raw_stored: ratio(stored.myelin, stored.raw),
    },
  }
}
