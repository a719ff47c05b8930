// An instance in the runner's own process, on its connection.
import { setTimeout as sleep } from 'node:timers/promises'
import { failure, MyelinError, messageOf, timerMs } from '../bus/internal.ts'
import { Checks, natsCheck } from '../heartbeat/index.ts'
import { openAll, parseConfig, type RunningUnit, type Unit, type UnitContext } from '../unit/internal.ts'
import type { UnitRun } from './instance.ts'
import { ownedBy } from './uncaught.ts'

/** The numbers among what a unit tells: they travel to other processes, and nothing else of it is of use there. */
const numbersOf = (stats: object): Record<string, number> =>
  Object.fromEntries(Object.entries(stats).filter(([, value]) => typeof value === 'number'))

/**
 * `givenUp`: nobody wants it any more while it starts; it is drained as soon as it can be.
 * @throws MyelinError INVALID_CONFIG, UNIT_FAILED, and what the unit's start throws
 */
export async function startHere(
  unit: Unit,
  context: UnitContext,
  drainMs: number,
  givenUp?: AbortSignal,
): Promise<UnitRun> {
  const config = await parseConfig(unit, context.config, `unit '${context.unit}'`)
  const failed = Promise.withResolvers<MyelinError>()
  const finished = Promise.withResolvers<void>()
  const fail = (error: unknown) =>
    failed.resolve(error instanceof MyelinError ? error : failure('UNIT_FAILED', messageOf(error), { cause: error }))
  // what begins to work, and what of it throws later on, is this unit's alone
  const starting = openAll(async (opened) => {
    const running = await ownedBy(fail, () => unit.start({ ...context, config }))
    opened.add(() => running.drain())
    const checks = new Checks({ nats: natsCheck(context.bus), ...running.checks })
    running.done?.then(finished.resolve, fail)
    return { running, checks }
  })
  const { running, checks } = await unlessGivenUp(starting, failed.promise, context.unit, drainMs, givenUp)
  // what failed is cleaned up before it starts again
  void failed.promise.then(() => running.drain()).catch(() => undefined)
  let complained = false
  /** What a unit says of itself is never what ends its runner. */
  const ask = <Answer extends object>(question: (() => Answer) | undefined): Answer => {
    try {
      return question?.() ?? ({} as Answer)
    } catch (error) {
      if (!complained)
        context.log.error({ err: error }, `unit '${context.unit}' cannot tell its numbers: ${messageOf(error)}`)
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
    stats: () => numbersOf(ask(() => running.stats?.() ?? {})),
    vitals: () => numbersOf(ask(() => running.vitals?.() ?? {})),
    metrics: () => ask(() => running.metrics?.() ?? {}),
    checks: () => checks.results(),
    followed: (_revision, logLevel) => {
      if (logLevel !== undefined) (context.log as { level?: string }).level = logLevel
    },
    finished: finished.promise,
    failed: failed.promise,
    async drain() {
      const late = Promise.withResolvers<never>()
      const timer = setTimeout(() => {
        late.reject(
          failure(
            'UNIT_FAILED',
            `unit '${context.unit}' had not drained after ${drainMs / 1_000} s; it cannot be killed alone and may still work until its runner ends`,
          ),
        )
      }, timerMs(drainMs))
      try {
        return await Promise.race([
          running.drain().then(
            () => undefined,
            (error: unknown) =>
              failure('UNIT_FAILED', `unit '${context.unit}' did not drain: ${messageOf(error)}`, { cause: error }),
          ),
          late.promise,
        ])
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

/** A start that throws where nobody catches it, or that nobody wants any more, is not waited for; what comes of it is drained. */
async function unlessGivenUp<Started extends { readonly running: RunningUnit }>(
  starting: Promise<Started>,
  failed: Promise<MyelinError>,
  unit: string,
  drainMs: number,
  givenUp: AbortSignal | undefined,
): Promise<Started> {
  const over = Promise.withResolvers<never>()
  over.promise.catch(() => undefined)
  const drained = () =>
    starting.then(
      ({ running }) => running.drain(),
      () => undefined,
    )
  let settled = false
  void failed.then((error) => {
    if (!settled) drained().catch(() => undefined)
    over.reject(error)
  })
  const stop = async () => {
    const patience = new AbortController()
    await Promise.race([
      drained().catch(() => undefined),
      sleep(timerMs(drainMs), undefined, { signal: patience.signal }).catch(() => undefined),
    ])
    patience.abort()
    over.reject(failure('UNIT_FAILED', `unit '${unit}' was stopped while it started`))
  }
  if (givenUp?.aborted) void stop()
  givenUp?.addEventListener('abort', stop, { once: true })
  try {
    return await Promise.race([starting, over.promise])
  } finally {
    settled = true
    givenUp?.removeEventListener('abort', stop)
  }
}
