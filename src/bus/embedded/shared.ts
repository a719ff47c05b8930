// The server of a folder, for all processes that work there: the first one runs it, the others use it, and when that
// first one ends, another takes over on the same store and the same port, where all of them look for it.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from '../bus.ts'
import { failure, hasCode, messageOf } from '../errors.ts'
import type { EmbeddedEvent } from './config.ts'
import { type EmbeddedNats, embeddedNats } from './embedded.ts'
import { type RunningServer, runningServer } from './lock.ts'

/** How long another process may take to start the server that it has locked the folder for. */
const startingMs = 25_000
const lookEveryMs = 200

export class SharedServer {
  readonly url: string
  readonly #storeDir: string
  readonly #another: RunningServer | undefined
  #own: EmbeddedNats | undefined
  #bus: Bus | undefined
  #stopped = false

  /** @internal */
  static async start(storeDir: string): Promise<SharedServer> {
    let shared: SharedServer | undefined
    const own = await embeddedNats({ storeDir, onEvent: (event) => shared?.report(event) })
    shared = new SharedServer(storeDir, own.url, undefined)
    shared.#own = own
    return shared
  }

  constructor(storeDir: string, url: string, another: RunningServer | undefined) {
    this.#storeDir = storeDir
    this.url = url
    this.#another = another
  }

  /** @internal What happens to the server that this process runs, as far as it matters to its connection. */
  report({ type }: EmbeddedEvent): void {
    if (type === 'disk-full' || type === 'disk-freed') this.#bus?.emit({ type, storeDir: this.#storeDir })
  }

  /** Starts a server for the connection's sake when the process that ran it is gone. */
  follow(bus: Bus): void {
    this.#bus = bus
    if (this.#own) return
    let looking = false
    bus.on(({ type }) => {
      if (type !== 'disconnected' || looking) return
      looking = true
      void this.#replace(bus)
        .catch((error) => this.#giveUp(bus, messageOf(error)))
        .finally(() => {
          looking = false
        })
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#own?.stop()
  }

  async #replace(bus: Bus): Promise<void> {
    while (!this.#stopped && !this.#own && !bus.connected && !bus.nats.isClosed()) {
      await sleep(lookEveryMs, undefined, { ref: false })
      const running = await runningServer(this.#storeDir)
      if (running) {
        if (running.url !== this.url) return this.#giveUp(bus, `it listens at ${running.url} now`)
        continue // it is being started again by whoever runs it
      }
      // what such a server was told (accounts, TLS, ports) only its own process knows
      if (this.#another?.configured) return this.#giveUp(bus, 'start it again as it was started')
      const port = Number(new URL(this.url).port)
      const own = await embeddedNats({
        storeDir: this.#storeDir,
        port,
        onEvent: (event) => this.report(event),
      }).catch((error) => {
        if (hasCode(error, 'STORE_LOCKED')) return undefined // another was faster
        throw error
      })
      if (!own) continue
      this.#own = own
      if (this.#stopped) return own.stop()
      bus.emit({ type: 'took-over', server: own.url })
    }
  }

  #giveUp(bus: Bus, why: string): void {
    if (this.#stopped) return
    const by = this.#another ? ` (pid ${this.#another.parent})` : ''
    bus.report(
      failure('SERVER_UNREACHABLE', `the server at ${this.url} ended with the process that ran it${by}; ${why}`),
      `the server of ${this.#storeDir}`,
    )
    void bus.close()
  }
}

/**
 * The server that runs in a folder, or one that is started there; undefined when none may be started.
 * @throws MyelinError SERVER_NOT_FOUND, SERVER_FAILED, STORE_LOCKED
 */
export async function sharedServer(storeDir: string, embed: boolean): Promise<SharedServer | undefined> {
  for (const end = performance.now() + startingMs; ; await sleep(lookEveryMs)) {
    const running = await runningServer(storeDir)
    if (running) return new SharedServer(storeDir, running.url, running)
    if (!embed) return undefined
    try {
      return await SharedServer.start(storeDir)
    } catch (error) {
      // another process begins at the same moment: its server is this one's as well
      const locked = hasCode(error, 'STORE_LOCKED')
      if (!locked || performance.now() > end) throw error
    }
  }
}
