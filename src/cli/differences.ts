// What a composition says against what runs.
import { redact } from '../bus/internal.ts'
import type { DesiredEntry, DesiredStates } from '../control/index.ts'
import type { Fleet, Member } from '../heartbeat/index.ts'
import { configHash, type LoadedComposition, moduleHash, type UnitSpec, useName } from '../runtime/index.ts'

export interface Difference {
  readonly site: string
  readonly unit: string
  readonly what: 'unit' | 'replicas' | 'state' | 'config' | 'module' | 'isolation'
  readonly wanted: string
  readonly found: string
  /** The instances were given what the composition says, and desired state says otherwise. */
  readonly overridden?: boolean
}

const present = ({ status }: Member) => status === 'alive' || status === 'suspect'

/** Everything that differs, unit by unit, and at last the units that the composition does not have. */
export async function differences(
  { composition, folder }: LoadedComposition,
  watching: Fleet,
  states: DesiredStates,
): Promise<Difference[]> {
  const desired = await states.all()
  const found: Difference[] = []
  for (const [unit, spec] of Object.entries(composition.units)) {
    const module = await moduleHash(spec.use, folder)
    const everywhere = watching.list({ unit }).filter(present)
    const entries = desired.filter((entry) => entry.unit === unit)
    // each site runs as many as the composition says
    const emptied = entries.filter((entry) => entry.desired.replicas === 0)
    const sites = new Set([...everywhere.map(({ beat }) => beat.site), ...emptied.map(({ site }) => site)])
    if (sites.size === 0) sites.add(spec.site ?? '')
    for (const site of sites) {
      const members = everywhere.filter(({ beat }) => beat.site === site)
      const entry = entries.find((one) => one.site === site)
      found.push(...ofUnit(spec, module, members, entry).map((one) => ({ site, unit, ...one })))
    }
  }
  const extra = watching.list().filter((member) => {
    const { unit, origin } = member.beat
    return present(member) && origin?.composition === composition.name && !(unit in composition.units)
  })
  for (const key of new Set(extra.map(({ beat }) => `${beat.site} ${beat.unit}`))) {
    const [site = '', unit = ''] = key.split(' ')
    const running = extra.filter(({ beat }) => beat.site === site && beat.unit === unit).length
    found.push({ site, unit, what: 'unit', wanted: 'none', found: `${running} running` })
  }
  return found
}

type OfUnit = Omit<Difference, 'site' | 'unit'>

function ofUnit(
  spec: UnitSpec,
  module: string | undefined,
  members: readonly Member[],
  entry: DesiredEntry | undefined,
): OfUnit[] {
  const found: OfUnit[] = []
  const add = (what: Difference['what'], wanted: string, is: readonly string[], more: Partial<OfUnit> = {}) => {
    const others = [...new Set(is)].filter((one) => one !== wanted)
    if (others.length > 0) found.push({ what, wanted, found: others.join(', '), ...more })
  }
  add('replicas', String(spec.replicas), [String(members.length)])
  const resting = members.map(({ beat }) => beat.state).filter((state) => state === 'paused' || state === 'stopped')
  add('state', 'running', resting)
  // beats of other programs, and of older versions, do not say what they were made of
  const origins = members.flatMap(({ beat }) => beat.origin ?? [])
  const wanted = configHash(spec.config)
  const other = origins.filter((origin) => origin.config !== wanted)
  if (other.length > 0) {
    const overridden = other.every((origin) => origin.given === wanted)
    add('config', shown(spec.config), [otherConfig(spec, entry, other[0]!.config)], { overridden })
  }
  const named = (use: string, hash: string | undefined) => (hash === undefined ? use : `${use} (${hash})`)
  // a file that cannot be read here is not compared
  const is = origins.map((origin) => named(origin.use, module && origin.module))
  add('module', named(useName(spec.use), module), is)
  add(
    'isolation',
    spec.isolation,
    origins.map((origin) => origin.isolation),
  )
  return found
}

const shown = (config: unknown) => JSON.stringify(redact(config))

/** What runs instead, where it is known: beats only tell a hash. */
function otherConfig(spec: UnitSpec, entry: DesiredEntry | undefined, hash: string): string {
  const { config, exact } = entry?.desired ?? {}
  const merged = config && (exact ? config : { ...spec.config, ...config })
  return merged && configHash(merged) === hash ? shown(merged) : `another one (${hash})`
}
