// Hourly keyed windows over the 3,000,000 real flights that are in JetStream already: against the same sums written by
// hand on the client library, with and without checkpoints. Then a million keys: their memory, and their recovery.
import { embeddedNats } from '../../src/bus/index.ts'
import { Child } from '../processes.ts'
import { median, type Options, type Result, ratio } from '../result.ts'

const keys = 1_000_000
const never = 3_600_000

export async function run({ rounds, say }: Options): Promise<Result> {
  await using server = await embeddedNats()
  let events: number
  {
    await using feed = await Child.start('subjects/stream-myelin.ts', 'feed', server.url)
    say('putting the flights in…')
    events = await feed.ask<number>({})
  }
  const took = { raw: [] as number[], myelin: [] as number[], unsaved: [] as number[] }
  let rows = 0
  for (let round = 0; round < Math.min(rounds, 3); round++) {
    for (const [name, module, params] of [
      ['raw', 'subjects/stream-raw.ts', { events }],
      ['myelin', 'subjects/stream-myelin.ts', { checkpointMs: 1_000 }],
      ['unsaved', 'subjects/stream-myelin.ts', { checkpointMs: never }],
    ] as const) {
      await using child = await Child.start(module, 'hourly', server.url)
      const { ms, rows: made } = await child.ask<{ ms: number; rows: number }>(params)
      if (rows !== 0 && made !== rows) throw new Error(`${name} made ${made} rows, another ${rows}`)
      rows = made
      took[name].push(ms)
      say(`round ${round + 1}, ${name}: ${Math.round((events / ms) * 1_000).toLocaleString('en')} events/s`)
    }
  }
  const perSecond = (times: number[]) => Math.round((events / median(times)) * 1_000)
  say(`${keys.toLocaleString('en')} keys…`)
  const filled = await ask(server.url, { keys, fill: true })
  const back = await ask(server.url, { keys })
  return {
    bench: 'stream',
    figures: {
      events,
      rows,
      myelin_events_per_second: perSecond(took.myelin),
      without_checkpoints_events_per_second: perSecond(took.unsaved),
      raw_events_per_second: perSecond(took.raw),
      keys,
      keys_first_pass_ms: Math.round(filled.took),
      recovery_of_keys_ms: Math.round(back.ready),
      bytes_per_key_after_recovery: Math.round(back.bytesPerKey),
    },
    ratios: {
      myelin_vs_raw: ratio(perSecond(took.myelin), perSecond(took.raw)),
      checkpointing_costs: Math.round((1 - perSecond(took.myelin) / perSecond(took.unsaved)) * 1_000) / 1_000,
    },
  }
}

async function ask(url: string, params: object) {
  await using child = await Child.start('subjects/stream-myelin.ts', 'keys', url)
  return await child.ask<{ ready: number; took: number; bytesPerKey: number }>(params) // before the child is disposed of
}
