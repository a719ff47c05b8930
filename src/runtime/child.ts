// What runs in a unit's own process or worker thread: one connection, one unit, told by its parent what to start. It
// drains on SIGTERM, when asked, and when its parent is gone, also while it starts; it beats by itself.
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort } from 'node:worker_threads'
import { type Bus, boundedText, connect, MyelinError, messageOf } from '../bus/internal.ts'
import { Pulse, stateOn, type UnitState } from '../heartbeat/index.ts'
import { createLogger } from '../unit/internal.ts'
import { startHere } from './in-process.ts'
import type { UnitRun } from './instance.ts'
import type { FromChild, ToChild } from './isolated.ts'
import { loadUnit } from './load.ts'

/** Resolves when the parent has it, or is gone and has no use for it. */
const send = (message: FromChild): Promise<void> => {
  if (parentPort) parentPort.postMessage(message)
  else if (process.connected) return new Promise((resolve) => process.send?.(message, () => resolve()))
  return Promise.resolve()
}
const statsEveryMs = 500
/** A parent that is there kills what drains for too long; this is for when it is not. */
const orphanMs = 1_000
/** What was told last is worth waiting for, but not for ever. */
const tellingMs = 2_000
const maxReasonBytes = 64 * 1024

/** The channel to whoever started this: a process has one, a thread another. */
const channel = parentPort ?? process

const report = (error: unknown): Promise<void> =>
  send({
    type: 'failed',
    code: error instanceof MyelinError ? error.code : 'UNIT_FAILED',
    message: boundedText(messageOf(error), maxReasonBytes),
  })

/** Ends when what was said has arrived: a long text does not travel in one piece. */
async function end(code: number, said: Promise<void> = Promise.resolve()): Promise<never> {
  await Promise.race([said, sleep(tellingMs)])
  process.exit(code)
}

/** One run of a unit in this process. */
class Child {
  readonly #start: Extract<ToChild, { type: 'start' }>
  readonly #givenUp = new AbortController()
  #run: UnitRun | undefined
  #pulse: Pulse | undefined
  #bus: Bus | undefined
  #revision: number
  #state: UnitState = 'ready'
  #timer: NodeJS.Timeout | undefined
  #leaving = false

  constructor(start: Extract<ToChild, { type: 'start' }>) {
    this.#start = start
    this.#revision = start.revision
  }

  async run(): Promise<void> {
    const { unit: name, instance, site, use, folder, config, beatMs, tags, origin, drainMs } = this.#start
    try {
      const unit = await loadUnit(use, folder, `units.${name}.use`)
      const { connect: reach } = this.#start
      // the heartbeat's thread starts beside the unit: it takes as long
      const beating = beatMs > 0 ? Pulse.start({ connect: reach, site, intervalMs: beatMs }) : undefined
      beating?.catch(() => undefined)
      const bus = await connect({ ...reach, name: `${name}.${instance}` })
      this.#bus = bus
      const log = createLogger({ unit: name, instance }, { bus, site })
      const context = { bus, config, unit: name, instance, site, log }
      const run = await startHere(unit, context, drainMs + orphanMs, this.#givenUp.signal)
      this.#run = run
      this.#pulse = await beating
      this.#pulse?.add({
        unit: name,
        instance,
        kind: () => run.kind,
        version: run.version,
        tags,
        startedAt: run.startedAt,
        state: () => stateOn(bus, this.#state),
        revision: () => this.#revision,
        origin: () => origin,
        checks: () => run.checks(),
        vitals: () => run.vitals(),
      })
      this.#timer = setInterval(() => void this.#report(), statsEveryMs)
      void run.finished.then(async () => {
        await this.#report()
        await send({ type: 'finished' })
      })
      void run.failed.then((error) => end(1, report(error)))
      void bus.closed().then((error) => {
        if (!this.#leaving) void end(1, report(error ?? new Error('the connection closed')))
      })
      void this.#report()
      void send({ type: 'ready', kind: unit.kind, version: run.version, startedAt: run.startedAt })
      if (this.#givenUp.signal.aborted) await this.#drain(true)
    } catch (error) {
      const said = this.#leaving ? Promise.resolve() : report(error)
      await this.#run?.drain(false).catch(() => undefined)
      await Promise.race([this.#bus?.close().catch(() => undefined), sleep(orphanMs)])
      await end(this.#leaving ? 0 : 1, said)
    }
  }

  followed(revision: number, logLevel: string | undefined): void {
    this.#revision = revision
    this.#run?.followed?.(revision, logLevel)
  }

  leave(goodbye: boolean): void {
    if (this.#leaving) return
    this.#leaving = true
    this.#state = 'draining'
    if (this.#run) return void this.#drain(goodbye)
    this.#givenUp.abort() // what has opened until now is closed by the start itself
    setTimeout(() => process.exit(1), this.#start.drainMs + orphanMs)
  }

  async #drain(goodbye: boolean): Promise<void> {
    clearInterval(this.#timer)
    let said = Promise.resolve()
    try {
      const failed = await this.#run?.drain(goodbye)
      if (failed) said = report(failed)
      await this.#report()
      await this.#pulse?.stop(goodbye)
      await this.#bus?.close()
    } catch (error) {
      return end(1, report(error))
    }
    await end(0, said)
  }

  #report(): Promise<void> {
    const run = this.#run!
    const report = {
      type: 'stats',
      stats: run.stats(),
      vitals: run.vitals(),
      checks: run.checks(),
      maxRssBytes: process.resourceUsage().maxRSS * 1024,
    } as const
    try {
      return send({ ...report, metrics: run.metrics() })
    } catch {
      return send({ ...report, metrics: {} }) // a unit's own, and not plain data
    }
  }
}

let child: Child | undefined
/** Whoever started this is gone before there is anything to drain. */
const orphaned = () => process.exit(1)
process.once('disconnect', orphaned)

// what nobody catches is the reason that the runner gives, not just an exit code
process.on('uncaughtException', (error) => {
  console.error(error)
  void end(1, report(error))
})
process.on('SIGTERM', () => (child ? child.leave(true) : process.exit(0)))
// Ctrl-C reaches the whole group: the parent says when
process.on('SIGINT', () => undefined)

channel.on('message', (message: ToChild) => {
  if (message.type === 'start' && !child) {
    child = new Child(message)
    process.off('disconnect', orphaned)
    // its runner died: nobody decided that it leaves, so watchers are told of a death and not of a goodbye
    process.on('disconnect', () => child?.leave(false))
    void child.run()
  } else if (message.type === 'drain') child?.leave(message.goodbye)
  else if (message.type === 'followed') child?.followed(message.revision, message.logLevel)
})
