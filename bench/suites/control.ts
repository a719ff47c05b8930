// Pause and resume 1,000 instances, all acknowledged, desired state and audit written: against a bare publish and gather
// of 1,000 replies.
import { embeddedNats } from '../../src/bus/index.ts'
import { Child } from '../processes.ts'
import { median, type Options, type Result, ratio } from '../result.ts'

const p99 = (values: number[]) => [...values].sort((a, b) => a - b)[Math.ceil(values.length * 0.99) - 1]!

export async function run({ rounds, say }: Options): Promise<Result> {
  await using server = await embeddedNats()
  await using _hosts = await Child.start('subjects/control-myelin.ts', 'serve', server.url)
  await using caller = await Child.start('subjects/control-myelin.ts', 'call', server.url)
  await caller.ask({ rounds: 5 })
  say('1,000 instances are there; pausing and resuming…')
  const { commands, bare } = await caller.ask<{ commands: number[]; bare: number[] }>({ rounds: rounds * 10 })
  const round = (value: number) => Math.round(value * 10) / 10
  return {
    bench: 'control',
    figures: {
      instances: 1_000,
      command_median_ms: round(median(commands)),
      command_p99_ms: round(p99(commands)),
      bare_median_ms: round(median(bare)),
      bare_p99_ms: round(p99(bare)),
    },
    ratios: {
      myelin_vs_bare_median: ratio(median(commands), median(bare)),
      myelin_vs_bare_p99: ratio(p99(commands), p99(bare)),
    },
  }
}
