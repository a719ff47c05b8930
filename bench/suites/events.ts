// Publish/subscribe, 128 bytes of JSON, from one process to another: delivered per second.
import { embeddedNats } from '../../src/bus/index.ts'
import { Child } from '../processes.ts'
import { alternate, type Options, type Result, ratio } from '../result.ts'

const subjects = ['raw', 'headers', 'myelin'] as const

export async function run({ rounds, seconds, say }: Options): Promise<Result> {
  const medians = await alternate(subjects, rounds, async (subject, round) => {
    await using server = await embeddedNats({ jetstream: false })
    await using _subscriber = await Child.start(`subjects/events-${subject}.ts`, 'subscribe', server.url)
    await using publisher = await Child.start(`subjects/events-${subject}.ts`, 'publish', server.url)
    await publisher.ask({ seconds: 0.5 })
    const perSecond = await publisher.ask<number>({ seconds })
    say(`round ${round || 'warm-up'}, ${subject}: ${Math.round(perSecond)}/s`)
    return perSecond
  })
  return {
    bench: 'events',
    figures: {
      raw_per_second: medians.raw,
      raw_with_headers_per_second: medians.headers,
      myelin_per_second: medians.myelin,
    },
    ratios: {
      myelin_vs_raw: ratio(medians.myelin, medians.raw),
      myelin_vs_raw_with_headers: ratio(medians.myelin, medians.headers),
    },
  }
}
