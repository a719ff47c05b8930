// 5,000 clients on one gateway and 100 events a second for each: delivered per second, how old an event is when it is
// there, memory per client; against better-sse and a bare `res.write` loop in the same run.
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type EmbeddedNats, embeddedNats } from '../../src/bus/index.ts'
import { Child } from '../processes.ts'
import { median, type Options, type Result, ratio } from '../result.ts'
import { nowMicros, subject, subscribers } from '../subjects/sse.ts'

const servers = { bare: 'sse-bare', better: 'sse-better', myelin: 'sse-myelin' } as const
type Subject = keyof typeof servers

interface Serving {
  readonly port: number
  readonly rss: number
  readonly heap: number
}
interface Received {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
}

/** Publishes at a steady rate until it is stopped. */
async function ticking(server: EmbeddedNats, perSecond: number) {
  const bus = await connect({ servers: server.url })
  const started = performance.now()
  let n = 0
  const timer = setInterval(() => {
    for (const due = ((performance.now() - started) * perSecond) / 1_000; n < due; n++) {
      bus.publish(subject, Buffer.from(`{"t":${nowMicros()},"n":${n},"text":"${'x'.repeat(90)}"}`))
    }
  }, 2)
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await bus.close()
    },
  }
}

/** Kilobytes per client, of the whole process and of JavaScript's heap. */
async function memoryPerClient(server: EmbeddedNats, module: string, role = 'serve') {
  await using serving = await Child.start(`subjects/${module}.ts`, role, server.url)
  await using clients = await Child.start('subjects/sse-clients.ts', 'run', server.url)
  const before = await serving.ask<Serving>({})
  await clients.ask({ port: before.port })
  await sleep(1_000)
  const after = await serving.ask<Serving>({})
  const each = (key: 'rss' | 'heap') => (after[key] - before[key]) / subscribers / 1_024
  return { rss: each('rss'), heap: each('heap') }
}

async function round(server: EmbeddedNats, name: Subject, perSecond: number, seconds: number): Promise<Received> {
  await using serving = await Child.start(`subjects/${servers[name]}.ts`, 'serve', server.url)
  await using clients = await Child.start('subjects/sse-clients.ts', 'run', server.url)
  await clients.ask({ port: (await serving.ask<Serving>({})).port })
  await using _ticking = await ticking(server, perSecond)
  await sleep(1_500)
  return await clients.ask<Received>({ seconds }) // awaited here, before the processes go
}

/** 100 a second is the goal's load; the others show what each can carry, and how old events are when all can. */
const rates = [10, 25, 50, 100, 200, 400]
const compared = 100

export async function run({ rounds, seconds, say }: Options): Promise<Result> {
  await using server = await embeddedNats({ jetstream: false })
  const figures: Record<string, number> = {}
  const own = await memoryPerClient(server, 'sse-bare', 'sockets')
  figures.socket_kb = Math.round(own.rss * 10) / 10
  for (const [name, module] of Object.entries(servers)) {
    const { rss, heap } = await memoryPerClient(server, module)
    figures[`${name}_kb_over_socket`] = Math.round((rss - own.rss) * 10) / 10
    figures[`${name}_heap_kb_over_socket`] = Math.round((heap - own.heap) * 10) / 10
    say(`${name}: ${figures[`${name}_kb_over_socket`]} kB per client over the socket's own ${figures.socket_kb}`)
  }
  const sustained: Record<Subject, number> = { bare: 0, better: 0, myelin: 0 }
  for (const rate of rates) {
    for (const name of Object.keys(servers) as Subject[]) {
      const beaten = rate > rates[0]! && sustained[name] === 0
      if (rate !== compared && beaten) continue
      const all: Received[] = []
      for (let i = 0; i < (rate === compared ? rounds : 1); i++) {
        all.push(await round(server, name, rate, seconds))
        const { perSecond, p50, p99 } = all.at(-1)!
        say(`${rate}/s, ${name}: ${Math.round(perSecond)}/s, age ${p50} ms, p99 ${p99} ms`)
      }
      const of = (key: keyof Received) => Math.round(median(all.map((one) => one[key])))
      // all of it, and not ever later
      const keptUp = of('perSecond') >= 0.95 * rate * subscribers && of('p99') < 1_000
      if (keptUp) sustained[name] = rate * subscribers
      if (rate !== compared && rate !== rates[0]) continue
      figures[`${name}_at_${rate}_per_second`] = of('perSecond')
      figures[`${name}_at_${rate}_p50_ms`] = of('p50')
      figures[`${name}_at_${rate}_p99_ms`] = of('p99')
    }
  }
  for (const [name, most] of Object.entries(sustained)) figures[`${name}_sustained_per_second`] = most
  const at = (name: Subject) => figures[`${name}_at_${compared}_per_second`]!
  return {
    bench: 'sse',
    figures: { clients: subscribers, offered_per_second: subscribers * compared, ...figures },
    ratios: { myelin_vs_bare: ratio(at('myelin'), at('bare')), myelin_vs_better: ratio(at('myelin'), at('better')) },
  }
}
