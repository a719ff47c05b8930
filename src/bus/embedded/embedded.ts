// embeddedNats(): the real nats-server as a child of this process, watched, restarted, and never left behind.
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { failure, hasCode, messageOf } from '../errors.ts'
import { timerMs } from '../timer.ts'
import { findNatsServer } from './binary.ts'
import { type EmbeddedOptions, type Ports, serverConfig } from './config.ts'
import { DiskWatch } from './disk.ts'
import { lockStore, type StoreLock } from './lock.ts'
import { removePortsFiles, type ServerProcess, startServer } from './server-process.ts'
import { emptyStore, removeLeftBehind, temporaryPrefix } from './store.ts'

/** A running embedded server. */
export interface EmbeddedNats extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly websocketUrl: string | undefined
  readonly monitorUrl: string | undefined
  readonly storeDir: string
  /** Of the present process; changes with a restart. */
  readonly pid: number
  readonly restarts: number
  /** Resolves when the server is stopped for good, with the reason if it was not asked to. */
  closed(): Promise<string | undefined>
  stop(): Promise<void>
}

// Deaths within the span that end the attempts: a server that cannot live is not restarted for ever.
const crashLoop = { deaths: 5, withinMs: 15_000 }
const missedProbes = 3

/**
 * Starts a real nats-server for this process, ready when the promise resolves.
 *
 * @example
 * await using server = await embeddedNats()              // a free port, data in a temporary folder
 * await using bus = await connect({ servers: server.url })
 *
 * @throws MyelinError SERVER_NOT_FOUND, PORT_TAKEN, STORE_LOCKED, FILE_NOT_FOUND, SERVER_FAILED
 */
export async function embeddedNats(options: EmbeddedOptions = {}): Promise<EmbeddedNats> {
  const binary = await findNatsServer()
  if (options.configFile) {
    await access(options.configFile).catch((cause) => {
      throw failure('FILE_NOT_FOUND', `configFile: ${options.configFile} cannot be read`, { cause })
    })
  }
  const temporary = options.storeDir === undefined
  if (temporary) void removeLeftBehind()
  const storeDir = options.storeDir ?? (await mkdtemp(join(tmpdir(), temporaryPrefix)))
  const lock = await lockStore(storeDir, isConfigured(options))
  const server = new Embedded(binary, storeDir, temporary, options, lock)
  try {
    if (options.fresh) await emptyStore(storeDir)
    await server.start()
  } catch (error) {
    await server.clean()
    throw error
  }
  return server
}

/** Whether another process could not start the same server by knowing its store and port alone. */
function isConfigured({
  configFile,
  extraConfig,
  host,
  jetstream,
  maxPayloadBytes,
  ...rest
}: EmbeddedOptions): boolean {
  const own = [configFile, extraConfig, jetstream, maxPayloadBytes, rest.monitorPort, rest.websocketPort]
  return own.some((option) => option !== undefined) || (host !== undefined && host !== '127.0.0.1')
}

class Embedded implements EmbeddedNats {
  readonly storeDir: string
  readonly #binary: string
  readonly #temporary: boolean
  readonly #options: EmbeddedOptions
  readonly #lock: StoreLock
  readonly #closed: Promise<string | undefined>
  #close!: (reason: string | undefined) => void
  readonly #disk: DiskWatch
  #process!: ServerProcess
  #stopping: Promise<void> | undefined
  #deaths: number[] = []
  #probe: NodeJS.Timeout | undefined
  restarts = 0

  constructor(binary: string, storeDir: string, temporary: boolean, options: EmbeddedOptions, lock: StoreLock) {
    this.#binary = binary
    this.storeDir = storeDir
    this.#temporary = temporary
    this.#options = options
    this.#lock = lock
    this.#disk = new DiskWatch(storeDir)
    this.#closed = new Promise((resolve) => {
      this.#close = resolve
    })
  }

  get url(): string {
    return this.#process.url
  }
  get port(): number {
    return this.#process.port
  }
  get pid(): number {
    return this.#process.pid
  }
  get websocketUrl(): string | undefined {
    return this.#process.websocketUrl
  }
  get monitorUrl(): string | undefined {
    return this.#process.monitorUrl
  }
  closed(): Promise<string | undefined> {
    return this.#closed
  }

  /** @internal */
  async start(): Promise<void> {
    const free = (port: number | undefined) => (port === undefined ? undefined : port === 0 ? -1 : port)
    const others = { monitor: free(this.#options.monitorPort), websocket: free(this.#options.websocketPort) }
    const last = this.#options.port ? undefined : portOf(this.#lock.lastUrl)
    await this.#run({ client: this.#options.port || last || -1, ...others }).catch((error) => {
      // where the last one listened, its clients look for the next one; it need not be there
      if (last === undefined || !hasCode(error, 'PORT_TAKEN')) throw error
      return this.#run({ client: -1, ...others })
    })
    this.#options.onEvent?.({ type: 'started', pid: this.pid, port: this.port })
    this.#watch()
  }

  async #run(ports: Ports): Promise<void> {
    const configPath = join(this.storeDir, 'myelin-server.conf')
    const limitBytes = this.#options.jetstream === false ? undefined : await this.#disk.limitBytes()
    await writeFile(configPath, serverConfig(this.#options, this.storeDir, ports, limitBytes), { mode: 0o600 })
    const before = this.#process?.url ?? ''
    this.#process = await startServer({
      binary: this.#binary,
      configPath,
      portsDir: this.storeDir,
      memoryLimitBytes: this.#options.memoryLimitBytes,
      temporary: this.#temporary ? this.storeDir : undefined,
      onSpawned: (pid) => this.#lock.update(pid, before),
      onLog: (text) => void this.#said(text).catch(() => undefined),
    })
    await this.#lock.update(this.#process.pid, this.#process.url)
    void this.#process.ended.then((reason) => this.#died(reason))
  }

  async #died(reason: string): Promise<void> {
    if (this.#stopping) return
    const { pid, port } = this.#process
    const lines = this.#process.lastLines()
    this.#options.onEvent?.({ type: 'died', pid, reason })
    if (this.#options.restart === false) return this.#giveUp(`nats-server ${reason}`)
    for (let attempt = 1; !this.#stopping; attempt++) {
      const now = performance.now()
      this.#deaths = [...this.#deaths.filter((at) => now - at < crashLoop.withinMs), now]
      // on a full disk it may not even start, until there is room again
      if (this.#deaths.length >= crashLoop.deaths && !this.#disk.full)
        return this.#giveUp(
          `nats-server ${reason}, ${crashLoop.deaths} times in ${crashLoop.withinMs / 1_000} s:\n${lines}`,
        )
      await new Promise((resolve) => setTimeout(resolve, Math.min(1_000, 50 * 2 ** (this.#deaths.length - 1))))
      if (this.#stopping) return
      try {
        // the same ports, so that clients find it again
        await this.#run({
          client: port,
          monitor: portOf(this.#process.monitorUrl),
          websocket: portOf(this.#process.websocketUrl),
        })
        this.restarts += 1
        this.#options.onEvent?.({ type: 'restarted', pid: this.pid, attempt })
        if (this.#stopping) this.#process.kill('SIGTERM')
        return
      } catch (error) {
        reason = messageOf(error)
      }
    }
  }

  async #giveUp(reason: string): Promise<void> {
    clearInterval(this.#probe)
    this.#options.onEvent?.({ type: 'gave-up', reason })
    await this.clean()
    this.#close(reason)
  }

  async #said(text: string): Promise<void> {
    if (!(await this.#disk.said(text))) return
    this.#options.onEvent?.({ type: 'disk-full', pid: this.pid, storeDir: this.storeDir })
    await this.#restart()
  }

  /** Ends the process in order, so that it is started again. */
  async #restart(): Promise<void> {
    if (this.#stopping || this.#options.restart === false) return
    const ending = this.#process
    ending.kill('SIGTERM')
    const timer = setTimeout(() => ending.kill('SIGKILL'), timerMs(this.#options.stopTimeoutMs ?? 5_000))
    await ending.ended
    clearTimeout(timer)
  }

  async #lookAtDisk(): Promise<void> {
    const freeBytes = await this.#disk.roomAgain().catch(() => undefined)
    if (freeBytes === undefined || this.#stopping) return
    this.#options.onEvent?.({ type: 'disk-freed', pid: this.pid, storeDir: this.storeDir, freeBytes })
    await this.#restart()
  }

  /** A hung server holds its port and answers nobody: after some missed probes it is killed, and so restarted. */
  #watch(): void {
    const everyMs = this.#options.probeMs ?? 2_000
    if (everyMs === 0) return
    let missed = 0
    this.#probe = setInterval(async () => {
      const asked = this.pid
      void this.#lookAtDisk()
      const answered = await greets(this.#options.host ?? '127.0.0.1', this.port, everyMs)
      if (this.#stopping || asked !== this.pid) return
      missed = answered ? 0 : missed + 1
      if (missed < missedProbes) return
      missed = 0
      this.#options.onEvent?.({ type: 'hung', pid: asked })
      this.#process.kill('SIGKILL')
    }, everyMs)
    this.#probe.unref()
  }

  stop(): Promise<void> {
    this.#stopping ??= (async () => {
      clearInterval(this.#probe)
      this.#process.kill('SIGTERM')
      const timer = setTimeout(() => this.#process.kill('SIGKILL'), timerMs(this.#options.stopTimeoutMs ?? 5_000))
      await this.#process.ended
      clearTimeout(timer)
      await this.clean()
      this.#options.onEvent?.({ type: 'stopped' })
      this.#close(undefined)
    })()
    return this.#stopping
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** @internal */
  async clean(): Promise<void> {
    await this.#lock.release()
    await removePortsFiles(this.storeDir)
    if (this.#temporary) await rm(this.storeDir, { recursive: true, force: true, maxRetries: 3 })
  }
}

function portOf(url: string | undefined): number | undefined {
  return url === undefined ? undefined : Number(new URL(url).port)
}

/** Whether a NATS server greets a new connection in time. */
function greets(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: host === '0.0.0.0' ? '127.0.0.1' : host, port })
    const done = (answer: boolean) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answer)
    }
    const timer = setTimeout(() => done(false), timeoutMs)
    socket.once('data', (bytes) => done(bytes.subarray(0, 4).toString() === 'INFO'))
    socket.once('error', () => done(false))
  })
}
