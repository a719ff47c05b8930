// Ten hosts with a hundred simulated instances each, and a controller that pauses and resumes them all; beside it, the
// bare thing: one message to ten connections that send a hundred replies each.
import { connect } from '../../src/bus/index.ts'
import { Agent, type Controlled, command } from '../../src/control/index.ts'
import { type Beat, beatSubject, fleet } from '../../src/heartbeat/index.ts'
import { createLogger } from '../../src/unit/index.ts'

const hosts = 10
const each = 100

class Simulated implements Controlled {
  readonly unit = 'sim'
  readonly instance: string
  state = 'ready'
  revision = 0
  readonly configId = ''
  constructor(instance: string) {
    this.instance = instance
  }
  async pause() {
    this.state = 'paused'
  }
  async resume() {
    this.state = 'ready'
  }
  async restart() {}
  async stop() {}
  async configure() {}
  async checkConfig() {}
  followed(revision: number) {
    this.revision = revision
  }
}

export async function serve(url: string) {
  const ack = Buffer.from(
    JSON.stringify({
      id: 'x'.repeat(36),
      site: 's',
      unit: 'sim',
      instance: 'i000000',
      ok: true,
      from: 'ready',
      to: 'paused',
      revision: 1,
    }),
  )
  for (let host = 0; host < hosts; host++) {
    const bus = await connect({ servers: url })
    const instances = Array.from({ length: each }, (_, i) => new Simulated(`h${host}i${i}`))
    const agent = await Agent.open(
      bus,
      {
        siteOf: () => 's',
        units: () => ['sim'],
        instances: () => instances,
        replicasOf: () => each,
        scale: async () => undefined,
      },
      createLogger(),
    )
    await agent.start()
    bus.subscribe('bare', (message) => {
      for (let i = 0; i < each; i++) bus.publish(message.reply!, ack)
    })
    setInterval(() => {
      instances.forEach(({ instance, state, revision }, i) => {
        const beat: Omit<Beat, 'seq'> & { seq: number } = {
          site: 's',
          unit: 'sim',
          instance,
          kind: 'sim',
          version: '1.0.0',
          state: state as Beat['state'],
          revision,
          host: 'h',
          pid: 1,
          startedAt: 1,
          at: Date.now(),
          seq: Date.now() + i,
          nextMs: 1_000,
          connection: 'c',
          checks: [],
          vitals: { loopDelayP99Ms: 0, cpu: 0, rssBytes: 0, heapBytes: 0 },
        }
        bus.post(beatSubject('s', 'sim', instance), Buffer.from(JSON.stringify(beat)))
      })
    }, 950)
  }
}

export async function call(url: string) {
  const bus = await connect({ servers: url })
  const watching = await fleet(bus)
  await watching.until({ unit: 'sim' }, (members) => members.length === hosts * each, 20_000)
  return async ({ rounds }: { rounds: number }) => {
    const commands: number[] = []
    const bare: number[] = []
    for (let round = 0; round < rounds; round++) {
      for (const verb of ['pause', 'resume'] as const) {
        const started = performance.now()
        const { ok, acks } = await command(bus, watching, { verb, selector: { unit: 'sim' }, by: 'bench' })
        if (!ok || acks.length !== hosts * each) throw new Error(`${acks.length} answered`)
        commands.push(performance.now() - started)
        bare.push(await publishAndGather(bus, hosts * each))
      }
    }
    return { commands, bare }
  }
}

function publishAndGather(bus: Awaited<ReturnType<typeof connect>>, expected: number): Promise<number> {
  return new Promise((resolve) => {
    const started = performance.now()
    const inbox = `_INBOX.bare.${crypto.randomUUID()}`
    let got = 0
    const subscription = bus.subscribe(inbox, (message) => {
      message.json()
      got += 1
      if (got < expected) return
      subscription.unsubscribe()
      resolve(performance.now() - started)
    })
    bus.publish('bare', new Uint8Array(0), '', inbox)
  })
}
