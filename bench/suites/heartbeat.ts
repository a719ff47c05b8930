// 5,000 instances at one beat a second and one watcher: what watching costs, how soon death is told, and whether anybody
// is declared dead who is not. Beside it, how soon Moleculer tells a killed node at the same interval.
import { setTimeout as sleep } from 'node:timers/promises'
import { embeddedNats } from '../../src/bus/index.ts'
import { Child } from '../processes.ts'
import { median, type Options, type Result, ratio } from '../result.ts'

const instances = 5_000
const killed = 200

interface Seen {
  readonly members: number
  readonly deaths: [instance: string, at: number][]
  readonly cpu: number
  readonly rssMb: number
}

const percentile = (values: number[], share: number) =>
  [...values].sort((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? 0

export async function run({ rounds, say }: Options): Promise<Result> {
  await using server = await embeddedNats()
  await using swarm = await Child.start('subjects/heartbeat-myelin.ts', 'swarm', server.url)
  await using watcher = await Child.start('subjects/heartbeat-myelin.ts', 'watch', server.url)
  await swarm.ask({ count: instances })
  await sleep(5_000)
  await watcher.ask<Seen>({})
  say(`${instances} instances beat; watching for 15 s…`)
  await sleep(15_000)
  const calm = await watcher.ask<Seen>({})
  const silence = Array.from({ length: killed }, (_, i) => i * 25)
  const silentAt = await swarm.ask<number>({ silence })
  await sleep(6_000)
  const after = await watcher.ask<Seen>({})
  const expected = new Set(silence.map((i) => `i${i}`))
  const detected = after.deaths.filter(([instance]) => expected.has(instance)).map(([, at]) => at - silentAt)
  const falsely = calm.deaths.length + after.deaths.filter(([instance]) => !expected.has(instance)).length

  const moleculer: number[] = []
  await using peer = await Child.start('subjects/heartbeat-moleculer.ts', 'watch', server.url)
  for (let round = 0; round < rounds; round++) {
    await using node = await Child.start('subjects/heartbeat-moleculer.ts', 'node', server.url)
    const pid = await node.ask<number>({})
    await sleep(2_500)
    process.kill(pid, 'SIGKILL')
    const killedAt = Date.now()
    moleculer.push((await peer.ask<number>({ pid })) - killedAt)
    say(`moleculer, round ${round + 1}: a killed node was told after ${moleculer.at(-1)} ms`)
  }
  const p99 = percentile(detected, 0.99)
  return {
    bench: 'heartbeat',
    figures: {
      instances: calm.members,
      watcher_core_percent: Math.round(calm.cpu * 1_000) / 10,
      watcher_mb: Math.round(calm.rssMb),
      deaths_of_200_told: detected.length,
      detection_median_ms: Math.round(median(detected)),
      detection_p99_ms: p99,
      false_deaths: falsely,
      moleculer_detection_median_ms: Math.round(median(moleculer)),
    },
    ratios: { myelin_vs_moleculer_detection: ratio(median(detected), median(moleculer)) },
  }
}
