// Running one unit in this process, without a composition: for tests, scripts and small programs.
import type { Bus } from '../bus/internal.ts'
import { failure, redactText } from '../bus/internal.ts'
import { createLogger, type Logger } from './log.ts'
import { openAll } from './opened.ts'
import { withSecrets } from './secrets.ts'
import type { RunningUnit, Unit } from './unit.ts'
import { unknownKeys } from './unknown-keys.ts'

/** Configuration, logger and name for {@link serve}. */
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

/**
 * Parses a unit's configuration with its schema, with the secrets that it refers to. `at` says where a key is written.
 * @throws MyelinError INVALID_CONFIG, naming every key that is wrong or that the schema does not know
 */
export async function parseConfig<Config>(
  unit: Unit<Config>,
  given: unknown,
  where: string,
  at?: (path: readonly PropertyKey[]) => string | undefined,
): Promise<Config> {
  const config = await withSecrets(given ?? {}, where)
  if (!unit.config) return config as Config
  const result = await unit.config['~standard'].validate(config)
  const unknown = unknownKeys(unit.config, config)
  if (!result.issues && unknown.length === 0) return result.value
  const wrong = (result.issues ?? []).map((issue) => ({
    path: (issue.path ?? []).map((step) => (typeof step === 'object' ? step.key : step)),
    message: issue.message,
    ofKeys: (issue as { code?: string }).code === 'unrecognized_keys',
  }))
  // a strict schema sees such keys itself: what it says in its own words stays, else what was meant is told
  const own = wrong.filter(
    ({ ofKeys, message }) => !ofKeys || unknown.length === 0 || !/^Unrecognized key/.test(message),
  )
  const seen = new Set(own.filter(({ ofKeys }) => ofKeys).map(({ path }) => path.join('.')))
  const issues = [...own, ...unknown.filter(({ path }) => !seen.has(path.slice(0, -1).join('.')))]
  const texts = issues.map(({ path, message }) => {
    const key = ['config', ...path].map(String).join('.')
    const line = at?.(path)
    return `${line ? `${line}: ` : ''}${key}: ${redactText(message)}`
  })
  throw failure('INVALID_CONFIG', `${where}: ${texts.join('; ')}`, {
    data: { issues: issues.map(({ path, message }) => ({ path, message: redactText(message) })) },
  })
}
