// An instance in the host's own process, on its connection.
import { failure, MyelinError, messageOf } from '../bus/index.ts'
import { Checks, natsCheck } from '../heartbeat/index.ts'
import { parseConfig, type Unit, type UnitHost } from '../unit/index.ts'
import type { Life } from './instance.ts'

export async function startHere(unit: Unit, host: UnitHost): Promise<Life> {
  const config = await parseConfig(unit, host.config, `unit '${host.unit}'`)
  const running = await unit.start({ ...host, config })
  const checks = new Checks({ nats: natsCheck(host.bus), ...running.checks })
  const failed = Promise.withResolvers<MyelinError>()
  const finished = Promise.withResolvers<void>()
  running.done?.then(finished.resolve, (error: unknown) =>
    failed.resolve(error instanceof MyelinError ? error : failure('UNIT_FAILED', messageOf(error), { cause: error })),
  )
  // what failed is cleaned up before it starts again
  void failed.promise.then(() => running.drain()).catch(() => undefined)
  return {
    kind: unit.kind,
    version: unit.version ?? '0.0.0',
    pid: process.pid,
    beats: false,
    stats: () => running.stats?.() ?? {},
    vitals: () => running.vitals?.() ?? {},
    checks: () => checks.results(),
    told: (_revision, logLevel) => {
      if (logLevel !== undefined) (host.log as { level?: string }).level = logLevel
    },
    finished: finished.promise,
    failed: failed.promise,
    drain: () => running.drain(),
  }
}
