// An instance in the host's own process, on its connection.
import { failure, MyelinError, messageOf } from '../bus/index.ts'
import { parseConfig, type Unit, type UnitHost } from '../unit/index.ts'
import type { Life } from './instance.ts'

export async function startHere(unit: Unit, host: UnitHost): Promise<Life> {
  const config = await parseConfig(unit, host.config, `unit '${host.unit}'`)
  const running = await unit.start({ ...host, config })
  const failed = Promise.withResolvers<MyelinError>()
  const finished = Promise.withResolvers<void>()
  running.done?.then(finished.resolve, (error: unknown) =>
    failed.resolve(error instanceof MyelinError ? error : failure('UNIT_FAILED', messageOf(error), { cause: error })),
  )
  // what failed is cleaned up before it starts again
  void failed.promise.then(() => running.drain()).catch(() => undefined)
  return {
    kind: unit.kind,
    pid: process.pid,
    stats: () => running.stats?.() ?? {},
    finished: finished.promise,
    failed: failed.promise,
    drain: () => running.drain(),
  }
}
