// What runs in a unit's own process or worker thread: one connection, one unit, told by its parent what to start. It
// drains on SIGTERM, when asked, and when its parent is gone; it beats by itself.
import { parentPort } from 'node:worker_threads'
import { connect, MyelinError, messageOf } from '../bus/index.ts'
import { Pulse, stateOn, type UnitState } from '../heartbeat/index.ts'
import { createLogger } from '../unit/index.ts'
import { startHere } from './in-process.ts'
import type { FromChild, ToChild } from './isolated.ts'
import { loadUnit } from './load.ts'

const send = (message: FromChild) => {
  if (parentPort) return parentPort.postMessage(message)
  if (process.connected) process.send?.(message, () => undefined) // a parent that is gone has no use for it
}
const statsEveryMs = 500
/** A parent that is there kills what drains for too long; this is for when it is not. */
const orphanMs = 1_000

/** The channel to whoever started this: a process has one, a thread another. */
const channel = parentPort ?? process

channel.once('message', async (message: ToChild) => {
  if (message.type !== 'start') return
  const { unit: name, instance, site, use, folder, config, beatMs, tags, drainMs } = message
  // whoever started this is gone before there is anything to drain
  const orphaned = () => process.exit(1)
  process.once('disconnect', orphaned)
  // what nobody catches is the reason that the host gives, not just an exit code
  process.on('uncaughtException', (error) => {
    console.error(error)
    tell(error)
    process.exit(1)
  })
  const tell = (error: unknown) =>
    send({
      type: 'failed',
      code: error instanceof MyelinError ? error.code : 'UNIT_FAILED',
      message: messageOf(error),
    })
  try {
    const unit = await loadUnit(use, folder, `units.${name}.use`)
    // the heartbeat's thread starts beside the unit: it takes as long
    const beating = beatMs > 0 ? Pulse.start({ connect: message.connect, site, intervalMs: beatMs }) : undefined
    beating?.catch(() => undefined)
    const bus = await connect({ ...message.connect, name: `${name}.${instance}` })
    const log = createLogger({ unit: name, instance }, { bus, site })
    const life = await startHere(unit, { bus, config, unit: name, instance, site, log }, drainMs + orphanMs)
    const pulse = await beating
    let state: UnitState = 'ready'
    let { revision } = message
    pulse?.add({
      unit: name,
      instance,
      kind: () => life.kind,
      version: life.version,
      tags,
      startedAt: life.startedAt,
      state: () => stateOn(bus, state),
      revision: () => revision,
      checks: () => life.checks(),
      vitals: () => life.vitals(),
    })
    const report = () =>
      send({
        type: 'stats',
        stats: life.stats(),
        vitals: life.vitals(),
        metrics: life.metrics(),
        checks: life.checks(),
        maxRssBytes: process.resourceUsage().maxRSS * 1024,
      })
    const timer = setInterval(report, statsEveryMs)
    let leaving = false
    const leave = async (goodbye: boolean) => {
      if (leaving) return
      leaving = true
      state = 'draining'
      clearInterval(timer)
      try {
        const failed = await life.drain(goodbye)
        if (failed) tell(failed)
        report()
        await pulse?.stop(goodbye)
        await bus.close()
        process.exit(0)
      } catch (error) {
        tell(error)
        process.exit(1)
      }
    }
    channel.on('message', (next: ToChild) => {
      if (next.type === 'drain') void leave(next.goodbye)
      else if (next.type === 'told') {
        revision = next.revision
        life.told?.(next.revision, next.logLevel)
      }
    })
    process.on('SIGTERM', () => void leave(true))
    // Ctrl-C reaches the whole group: the parent says when
    process.on('SIGINT', () => undefined)
    process.off('disconnect', orphaned)
    // its host died: nobody decided that it leaves, so watchers are told of a death and not of a goodbye
    process.on('disconnect', () => void leave(false))
    void life.finished.then(() => {
      report()
      send({ type: 'finished' })
    })
    void life.failed.then((error) => {
      tell(error)
      process.exit(1)
    })
    bus.closed().then((error) => {
      if (leaving) return
      tell(error ?? new Error('the connection closed'))
      process.exit(1)
    })
    report()
    send({ type: 'ready', kind: unit.kind, version: life.version, startedAt: life.startedAt })
  } catch (error) {
    tell(error)
    process.exit(1)
  }
})
