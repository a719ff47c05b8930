// Running one unit in this process, without a composition: for tests, scripts and small programs.
import type { Bus } from '../bus/index.ts'
import { failure } from '../bus/index.ts'
import { createLogger, type Logger } from './log.ts'
import { openAll } from './opened.ts'
import type { RunningUnit, Unit } from './unit.ts'

export interface ServeOptions<Config> {
  config?: Config
  unit?: string
  instance?: string
  site?: string
  log?: Logger
}

/**
 * Starts a unit on a connection; the result is drained when disposed.
 *
 * @example
 * await using running = await serve(bus, airportsService, { config: { file: 'airports.csv' } })
 *
 * @throws MyelinError INVALID_CONFIG, and whatever the unit's own start throws
 */
export async function serve<Config>(
  bus: Bus,
  unit: Unit<Config>,
  options: ServeOptions<NoInfer<Config>> = {},
): Promise<RunningUnit & AsyncDisposable> {
  const name = options.unit ?? unit.name
  const config = await parseConfig(unit, options.config, `unit '${name}'`)
  const running = await openAll(() =>
    unit.start({
      bus,
      config,
      unit: name,
      instance: options.instance ?? crypto.randomUUID().slice(0, 8),
      site: options.site ?? 'local',
      log: options.log ?? createLogger({ unit: name }),
    }),
  )
  return Object.assign(running, { [Symbol.asyncDispose]: () => running.drain() })
}

/** Parses a unit's configuration with its schema. @throws MyelinError INVALID_CONFIG, naming every key that is wrong */
export async function parseConfig<Config>(unit: Unit<Config>, config: unknown, where: string): Promise<Config> {
  if (!unit.config) return config as Config
  const result = await unit.config['~standard'].validate(config ?? {})
  if (!result.issues) return result.value
  const told = result.issues.map(({ path, message }) => {
    const key = ['config', ...(path ?? []).map((step) => (typeof step === 'object' ? step.key : step))]
      .map(String)
      .join('.')
    return `${key}: ${message}`
  })
  throw failure('INVALID_CONFIG', `${where}: ${told.join('; ')}`, { data: { issues: result.issues } })
}
