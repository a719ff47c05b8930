// A swarm of simulated instances that beat once a second, and a watcher of them all.
import { connect } from '../../src/bus/index.ts'
import { type Beat, beatSubject, fleet, Pulse, type Transition } from '../../src/heartbeat/index.ts'

import { stalling } from './stalls.ts'

const intervalMs = 1_000

/** Beats for `count` instances, spread over the second; `silence` lets some of them fall silent at once. */
export async function swarm(url: string) {
  const bus = await connect({ servers: url })
  const silent = new Set<number>()
  let running = 0
  const beat = (i: number, seq: number): Beat => ({
    site: 'bench',
    unit: `unit${i % 50}`,
    instance: `i${i}`,
    kind: 'service',
    version: '1.0.0',
    tags: [],
    state: 'ready',
    revision: 0,
    host: 'host',
    pid: 1,
    startedAt: 1,
    at: Date.now(),
    seq,
    nextMs: intervalMs,
    connection: `pulse-host-${i}`,
    checks: [{ name: 'nats', kind: 'readiness', status: 'ok', since: 1 }],
    vitals: {
      loopDelayP99Ms: 10.1,
      cpu: 0.02,
      rssBytes: 1e8,
      heapBytes: 5e7,
      handled: seq,
      errors: 0,
      inFlight: 1,
      rate: 1,
    },
  })
  return async ({ count, silence }: { count?: number; silence?: number[] }) => {
    for (const i of silence ?? []) silent.add(i)
    for (let i = running; i < (count ?? 0); i++) {
      let seq = 0
      const send = () => {
        if (silent.has(i)) return
        seq += 1
        bus.post(beatSubject('bench', `unit${i % 50}`, `i${i}`), Buffer.from(JSON.stringify(beat(i, seq))))
        setTimeout(send, intervalMs * (0.9 + Math.random() * 0.1))
      }
      setTimeout(send, Math.random() * intervalMs)
    }
    running = Math.max(running, count ?? 0)
    return Date.now()
  }
}

/** One real process that beats. */
export async function node(url: string) {
  const pulse = await Pulse.start({ connect: { servers: url }, site: 'bench', intervalMs })
  pulse.add({
    unit: 'real',
    instance: `pid${process.pid}`,
    kind: () => 'service',
    version: '1.0.0',
    tags: [],
    startedAt: Date.now(),
    state: () => 'ready',
    revision: () => 0,
    checks: () => [],
    vitals: () => ({}),
  })
  return async ({ stall, stop }: { stall?: boolean; stop?: boolean }) => {
    stalling(stall)
    if (stop) await pulse.stop()
    return process.pid
  }
}

/** Watches; each question gives what was seen since the last one. */
export async function watch(url: string) {
  const bus = await connect({ servers: url })
  const watching = await fleet(bus)
  let deaths: [instance: string, at: number][] = []
  let changes: [instance: string, transition: Transition][] = []
  let cpu = process.cpuUsage()
  let since = performance.now()
  watching.on(({ transition, member }) => {
    changes.push([member.beat.instance, transition])
    if (transition === 'dead') deaths.push([member.beat.instance, Date.now()])
  })
  return async ({ stall }: { stall?: boolean }) => {
    stalling(stall)
    const used = process.cpuUsage(cpu)
    const seen = {
      members: watching.list().length,
      deaths,
      changes,
      cpu: (used.user + used.system) / 1_000 / (performance.now() - since),
      rssMb: process.memoryUsage().rss / 1e6,
    }
    deaths = []
    changes = []
    cpu = process.cpuUsage()
    since = performance.now()
    return seen
  }
}
