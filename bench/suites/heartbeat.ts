// 5,000 instances at one beat a second and one watcher: what watching costs, how soon death is told, and whether anybody
// is declared dead who is not. Then real processes, beside Moleculer's at the same interval: killed, stopped, stalled for
// 800 ms of every second, watched by somebody who is stalled, and with the server restarted.
import { setTimeout as sleep } from 'node:timers/promises'
import { type EmbeddedNats, embeddedNats } from '../../src/bus/index.ts'
import { Child } from '../processes.ts'
import { median, type Options, type Result, ratio } from '../result.ts'

const instances = 5_000
const killed = 200
const stallMs = 60_000
const myelin = 'subjects/heartbeat-myelin.ts'
const moleculer = 'subjects/heartbeat-moleculer.ts'

interface Seen {
  readonly members: number
  readonly deaths: [instance: string, at: number][]
  readonly changes: [instance: string, transition: string][]
  readonly cpu: number
  readonly rssMb: number
}

const percentile = (values: number[], share: number) =>
  [...values].sort((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? 0

export async function run(options: Options): Promise<Result> {
  await using server = await embeddedNats()
  const swarm = await simulated(server, options)
  const real = await processes(server, options)
  return {
    bench: 'heartbeat',
    figures: { ...swarm, ...real },
    ratios: { myelin_vs_moleculer_detection: ratio(real.killed_median_ms, real.moleculer_killed_median_ms) },
  }
}

async function simulated(server: EmbeddedNats, { say }: Options) {
  await using swarm = await Child.start(myelin, 'swarm', server.url)
  await using watcher = await Child.start(myelin, 'watch', server.url)
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
  return {
    instances: calm.members,
    watcher_core_percent: Math.round(calm.cpu * 1_000) / 10,
    watcher_mb: Math.round(calm.rssMb),
    deaths_of_200_detected: detected.length,
    detection_median_ms: Math.round(median(detected)),
    detection_p99_ms: percentile(detected, 0.99),
    false_deaths: calm.deaths.length + after.deaths.filter(([instance]) => !expected.has(instance)).length,
  }
}

/** Each trouble for both at the same time, in processes of their own. */
async function processes(server: EmbeddedNats, { rounds, say }: Options) {
  await using watcher = await Child.start(myelin, 'watch', server.url)
  await using peer = await Child.start(moleculer, 'watch', server.url)
  const ours: number[] = []
  const theirs: number[] = []
  for (let round = 0; round < 2 * rounds; round++) {
    await using one = await Child.start(myelin, 'node', server.url)
    await using other = await Child.start(moleculer, 'node', server.url)
    const pids = [await one.ask<number>({}), await other.ask<number>({})] as const
    await sleep(2_000 + Math.random() * 1_000)
    await watcher.ask({})
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    const at = Date.now()
    theirs.push((await peer.ask<number>({ pid: pids[1] })) - at)
    ours.push((await detection(watcher, `pid${pids[0]}`)) - at)
    say(`kill -9, round ${round + 1}: told after ${ours.at(-1)} ms; moleculer ${theirs.at(-1)} ms`)
  }

  await using one = await Child.start(myelin, 'node', server.url)
  await using other = await Child.start(moleculer, 'node', server.url)
  const pid = await one.ask<number>({})
  await other.ask<number>({})
  await sleep(3_000)
  const quietly = async (what: string, doIt: () => Promise<void>) => {
    await watcher.ask({})
    await peer.ask({})
    await doIt()
    const { changes } = await watcher.ask<Seen>({})
    const deaths = {
      myelin: changes.filter(([, transition]) => transition === 'dead').length,
      moleculer: await peer.ask<number>({ deaths: true }),
      changes: changes.map(([, transition]) => transition).join(' '),
    }
    say(`${what}: ${deaths.myelin} deaths told (${deaths.changes || 'nothing'}); moleculer ${deaths.moleculer}`)
    return deaths
  }
  const both = async (children: readonly Child[], stall: boolean) => {
    for (const child of children) await child.ask({ stall })
  }
  const watched = await quietly(`${stallMs / 1_000} s of stalls in the watched processes`, async () => {
    await both([one, other], true)
    await sleep(stallMs)
    await both([one, other], false)
  })
  const watching = await quietly(`${stallMs / 1_000} s of stalls in the watching processes`, async () => {
    await both([watcher, peer], true)
    await sleep(stallMs)
    await both([watcher, peer], false)
  })
  const restart = await quietly('nats-server restarted', async () => {
    process.kill(server.pid!, 'SIGKILL')
    await sleep(8_000)
  })
  const stopped = await quietly('stopped for 10 s (here a death is right)', async () => {
    process.kill(pid, 'SIGSTOP')
    await sleep(10_000)
    process.kill(pid, 'SIGCONT')
    await sleep(2_000)
  })
  const graceful = await quietly('stopped gracefully', async () => {
    await one.ask({ stop: true })
    await sleep(5_000)
  })
  return {
    killed_rounds: ours.length,
    killed_median_ms: Math.round(median(ours)),
    killed_p99_ms: percentile(ours, 0.99),
    moleculer_killed_median_ms: Math.round(median(theirs)),
    moleculer_killed_p99_ms: percentile(theirs, 0.99),
    false_deaths_watched_stalls: watched.myelin,
    moleculer_false_deaths_watched_stalls: watched.moleculer,
    false_deaths_watching_stalls: watching.myelin,
    moleculer_false_deaths_watching_stalls: watching.moleculer,
    false_deaths_server_restart: restart.myelin,
    moleculer_false_deaths_server_restart: restart.moleculer,
    // 1: exactly these transitions were told
    stopped_suspect_dead_back: Number(stopped.changes === 'suspect dead back'),
    graceful_left_only: Number(graceful.changes === 'left'),
  }
}

async function detection(watcher: Child, instance: string): Promise<number> {
  for (;;) {
    const death = (await watcher.ask<Seen>({})).deaths.find(([dead]) => dead === instance)
    if (death) return death[1]
    await sleep(20)
  }
}
