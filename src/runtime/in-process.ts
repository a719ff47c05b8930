// An instance in the host's own process, on its connection.
import { failure, MyelinError, messageOf, timerMs } from '../bus/index.ts'
import { Checks, natsCheck } from '../heartbeat/index.ts'
import { openAll, parseConfig, type Unit, type UnitHost } from '../unit/index.ts'
import type { Life } from './instance.ts'
import { ownedBy } from './stray.ts'

export async function startHere(unit: Unit, host: UnitHost, drainMs: number): Promise<Life> {
  const config = await parseConfig(unit, host.config, `unit '${host.unit}'`)
  const failed = Promise.withResolvers<MyelinError>()
  const finished = Promise.withResolvers<void>()
  const fail = (error: unknown) =>
    failed.resolve(error instanceof MyelinError ? error : failure('UNIT_FAILED', messageOf(error), { cause: error }))
  // what begins to work, and what of it throws later on, is this unit's alone
  const { running, checks } = await openAll(async (opened) => {
    const running = await ownedBy(fail, () => unit.start({ ...host, config }))
    opened.add(() => running.drain())
    const checks = new Checks({ nats: natsCheck(host.bus), ...running.checks })
    running.done?.then(finished.resolve, fail)
    return { running, checks }
  })
  // what failed is cleaned up before it starts again
  void failed.promise.then(() => running.drain()).catch(() => undefined)
  let complained = false
  /** What a unit says of itself is never what ends its host. */
  const ask = <Answer extends object>(question: (() => Answer) | undefined): Answer => {
    try {
      return question?.() ?? ({} as Answer)
    } catch (error) {
      if (!complained)
        host.log.error({ err: error }, `unit '${host.unit}' cannot tell its numbers: ${messageOf(error)}`)
      complained = true
      return {} as Answer
    }
  }
  return {
    kind: unit.kind,
    version: unit.version ?? '0.0.0',
    startedAt: Date.now(),
    pid: process.pid,
    beats: false,
    stats: () => ask(() => running.stats?.() ?? {}),
    vitals: () => ask(() => running.vitals?.() ?? {}),
    metrics: () => ask(() => running.metrics?.() ?? {}),
    checks: () => checks.results(),
    told: (_revision, logLevel) => {
      if (logLevel !== undefined) (host.log as { level?: string }).level = logLevel
    },
    finished: finished.promise,
    failed: failed.promise,
    async drain() {
      const late = Promise.withResolvers<never>()
      const timer = setTimeout(() => {
        late.reject(
          failure(
            'UNIT_FAILED',
            `unit '${host.unit}' had not drained after ${drainMs / 1_000} s; it cannot be killed alone and may still work until its host ends`,
          ),
        )
      }, timerMs(drainMs))
      try {
        return await Promise.race([
          running.drain().then(
            () => undefined,
            (error: unknown) =>
              failure('UNIT_FAILED', `unit '${host.unit}' did not drain: ${messageOf(error)}`, { cause: error }),
          ),
          late.promise,
        ])
      } finally {
        clearTimeout(timer)
      }
    },
  }
}
