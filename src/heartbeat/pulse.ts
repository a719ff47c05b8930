// A process's heartbeat: beats for all of its instances leave from a worker thread with a connection of its own, so that
// a blocked event loop is told as `busy`, and only a process that is hung as a whole, or dead, falls silent.
import { hostname } from 'node:os'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { backoff, boundedText, type ConnectOptions, failure, messageOf, redactText, timerMs } from '../bus/internal.ts'
import type { Vitals } from '../unit/internal.ts'
import type { BeatVitals, CheckResult, Origin, UnitState } from './beat.ts'

/** An instance as its process sees it. */
export interface PulseSource {
  /** Default: that of its process. */
  readonly site?: string
  readonly unit: string
  readonly instance: string
  readonly kind: () => string
  readonly version: string
  readonly tags: readonly string[]
  readonly startedAt: number
  state(): UnitState
  /** Somebody else beats for it at present. */
  silent?(): boolean
  /** Why it failed. */
  reason?(): string | undefined
  revision(): number
  origin?(): Origin | undefined
  checks(): readonly CheckResult[]
  vitals(): Vitals
}

export interface PulseOptions {
  /** How the worker reaches the server. */
  readonly connect: ConnectOptions
  readonly site: string
  /** Time between beats. Default 1,000 ms; each is sent up to a tenth of it early. */
  readonly intervalMs?: number
}

/** What the worker is told, a few times per beat. */
export interface Snapshot {
  readonly site?: string
  readonly unit: string
  readonly instance: string
  readonly kind: string
  readonly version: string
  readonly tags: readonly string[]
  readonly startedAt: number
  readonly state: UnitState
  readonly reason?: string
  readonly revision: number
  readonly origin?: Origin
  readonly checks: readonly CheckResult[]
  readonly vitals: BeatVitals
}

export type ToPulse =
  | { readonly type: 'snapshots'; readonly snapshots: readonly Snapshot[] }
  | { readonly type: 'leave'; readonly instance: string }
  | { readonly type: 'stop'; readonly goodbye: boolean }

export interface PulseWorkerData {
  readonly connect: ConnectOptions
  readonly site: string
  readonly intervalMs: number
  readonly snapshotMs: number
  readonly host: string
  readonly connection: string
}

type ProcessVitals = Pick<BeatVitals, 'loopDelayP99Ms' | 'cpu' | 'rssBytes' | 'heapBytes'>

/** Snapshots per beat: what is told is at most a fifth of a beat old. */
const perBeat = 5
const stopMs = 2_000
/** Of why an instance failed. */
const reasonBytes = 500

/** What a unit says of itself is others' code: only numbers travel. */
const numbersOf = (vitals: Vitals): Vitals =>
  Object.fromEntries(Object.entries(vitals).filter(([, value]) => Number.isFinite(value)))

/** A thread that lived this long and died is started again as soon as the first one. */
const steadyMs = 60_000

export class Pulse {
  readonly #data: PulseWorkerData
  /** Undefined while it is started again. */
  #worker: Worker | undefined
  #usedAt = 0
  #nextMs = backoff(100, 10_000)
  #stopping = false
  readonly #sources = new Map<string, PulseSource>()
  readonly #rates = new Map<string, { handled: number; at: number; rate: number }>()
  readonly #timer: NodeJS.Timeout
  readonly #loop = monitorEventLoopDelay({ resolution: 10 })
  #exited: Promise<void> = Promise.resolve()
  readonly #last = new Map<string, Snapshot>()
  readonly #complained = new Set<string>()
  #cpu = process.cpuUsage()
  #cpuAt = performance.now()
  #process: ProcessVitals | undefined

  private constructor(worker: Worker, data: PulseWorkerData) {
    this.#data = data
    this.#use(worker)
    this.#loop.enable()
    this.#timer = setInterval(() => this.#report(), timerMs(data.snapshotMs))
    this.#timer.unref()
  }

  /** Starts beating for this process. @throws MyelinError SERVER_UNREACHABLE and the like */
  static async start(options: PulseOptions): Promise<Pulse> {
    const intervalMs = options.intervalMs ?? 1_000
    const snapshotMs = intervalMs / perBeat
    const data: PulseWorkerData = {
      connect: options.connect,
      site: options.site,
      intervalMs,
      snapshotMs,
      host: hostname(),
      connection: `pulse-${hostname()}-${process.pid}-${crypto.randomUUID().slice(0, 8)}`,
    }
    return new Pulse(await launch(data), data)
  }

  #use(worker: Worker): void {
    this.#worker = worker
    this.#usedAt = performance.now()
    worker.unref()
    let why: string | undefined
    worker.on('error', (error) => {
      why = messageOf(error)
    })
    this.#exited = new Promise((resolve) =>
      worker.once('exit', (code) => {
        resolve()
        if (!this.#stopping) void this.#again(why ?? `exit code ${code}`)
      }),
    )
  }

  /** The thread died though nobody asked it to: another one beats from now on. */
  async #again(why: string): Promise<void> {
    this.#worker = undefined
    process.emitWarning(`the heartbeat of this process ended (${why}); it is started again`, { type: 'MyelinWarning' })
    if (performance.now() - this.#usedAt > steadyMs) this.#nextMs = backoff(100, 10_000)
    while (!this.#stopping) {
      await new Promise<void>((resolve) => setTimeout(resolve, this.#nextMs()).unref())
      if (this.#stopping) return
      const worker = await launch(this.#data).catch(() => undefined) // the server is not there: later
      if (!worker) continue
      if (this.#stopping) return void worker.terminate()
      this.#use(worker)
      return this.#report()
    }
  }

  /** Beats for an instance from now on. */
  add(source: PulseSource): void {
    this.#sources.set(source.instance, source)
    this.#report()
  }

  /** Stops beating for an instance, with a last beat that says goodbye. */
  remove(instance: string): void {
    if (!this.#sources.delete(instance)) return
    for (const known of [this.#rates, this.#last, this.#complained]) known.delete(instance)
    this.#worker?.postMessage({ type: 'leave', instance } satisfies ToPulse)
  }

  /** Says goodbye for all that is left, unless they will be back, and ends. */
  async stop(goodbye = true): Promise<void> {
    this.#stopping = true
    clearInterval(this.#timer)
    this.#loop.disable()
    this.#worker?.postMessage({ type: 'stop', goodbye } satisfies ToPulse)
    const timer = setTimeout(() => void this.#worker?.terminate(), stopMs)
    await this.#exited
    clearTimeout(timer)
  }

  #report(): void {
    const snapshots = [...this.#sources.values()].flatMap((source) => {
      if (source.silent?.()) return []
      try {
        const snapshot = this.#snapshot(source)
        this.#last.set(source.instance, snapshot)
        return snapshot
      } catch (error) {
        // it lives, though it cannot tell its numbers: what it said last is told again
        if (!this.#complained.has(source.instance))
          process.emitWarning(`${source.unit}.${source.instance} cannot tell its vital signs: ${messageOf(error)}`)
        this.#complained.add(source.instance)
        return this.#last.get(source.instance) ?? []
      }
    })
    this.#worker?.postMessage({ type: 'snapshots', snapshots } satisfies ToPulse)
  }

  #snapshot(source: PulseSource): Snapshot {
    const vitals = source.vitals()
    const origin = source.origin?.()
    const reason = source.reason?.()
    const rate = this.#rate(source.instance, vitals.handled)
    return {
      ...(source.site === undefined ? {} : { site: source.site }),
      unit: source.unit,
      instance: source.instance,
      kind: source.kind(),
      version: source.version,
      tags: source.tags,
      startedAt: source.startedAt,
      state: source.state(),
      ...(reason === undefined ? {} : { reason: boundedText(redactText(reason), reasonBytes) }),
      revision: source.revision(),
      ...(origin === undefined ? {} : { origin }),
      checks: source.checks(),
      vitals: { ...this.#measure(), ...numbersOf(vitals), ...(rate === undefined ? {} : { rate }) },
    }
  }

  #rate(instance: string, handled: number | undefined): number | undefined {
    if (typeof handled !== 'number' || !Number.isFinite(handled)) return undefined
    const now = performance.now()
    const last = this.#rates.get(instance)
    if (!last) {
      this.#rates.set(instance, { handled, at: now, rate: 0 })
      return 0
    }
    if (now - last.at < 900) return last.rate
    // an instance that was restarted counts from 0 again
    const rate = Math.round((Math.max(0, handled - last.handled) * 1_000) / (now - last.at))
    this.#rates.set(instance, { handled, at: now, rate })
    return rate
  }

  #measure(): ProcessVitals {
    const now = performance.now()
    if (this.#process && now - this.#cpuAt < 900) return this.#process
    const used = process.cpuUsage(this.#cpu)
    const cpu = (used.user + used.system) / 1_000 / Math.max(1, now - this.#cpuAt)
    this.#cpu = process.cpuUsage()
    this.#cpuAt = now
    const p99 = this.#loop.percentile(99) / 1e6
    this.#loop.reset()
    const { rss, heapUsed } = process.memoryUsage()
    this.#process = {
      loopDelayP99Ms: Number.isFinite(p99) ? Math.round(p99 * 10) / 10 : 0,
      cpu: Math.round(cpu * 1_000) / 1_000,
      rssBytes: rss,
      heapBytes: heapUsed,
    }
    return this.#process
  }
}

/** Starts the thread; resolves when it is connected. @throws MyelinError SERVER_UNREACHABLE, UNIT_FAILED */
async function launch(data: PulseWorkerData): Promise<Worker> {
  const fromSource = import.meta.filename.endsWith('.ts')
  const worker = new Worker(
    fileURLToPath(new URL(fromSource ? './pulse-worker.ts' : './pulse-worker.js', import.meta.url)),
    {
      workerData: data,
      execArgv: fromSource ? ['--conditions=myelin-source'] : [],
    },
  )
  await new Promise<void>((resolve, reject) => {
    worker.once('message', (message: { ready: boolean; error?: string }) => {
      if (message.ready) resolve()
      else reject(failure('SERVER_UNREACHABLE', `the heartbeat cannot connect: ${message.error}`))
    })
    worker.once('error', (error) =>
      reject(failure('UNIT_FAILED', `the heartbeat stopped: ${messageOf(error)}`, { cause: error })),
    )
    worker.once('exit', (code) => reject(failure('UNIT_FAILED', `the heartbeat ended with exit code ${code}`)))
  })
  return worker
}
