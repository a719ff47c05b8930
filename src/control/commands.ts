// Giving commands: pick the instances, write what should be, tell them, and gather what each one answers.
import { type Bus, failure, gather, MyelinError, messageOf, now, readJsonObject } from '../bus/internal.ts'
import { type Fleet, type Member, matches, type Selector } from '../heartbeat/index.ts'
import { record } from './audit.ts'
import { type Ack, type Command, type CommandArgs, commandSubject, everyInstance, type Verb } from './command.ts'
import { type DesiredPatch, DesiredStates } from './desired.ts'
import { shareOf } from './share.ts'

/** A command to give, and to whom. */
export interface CommandRequest {
  readonly verb: Exclude<Verb, 'check'>
  readonly selector: Selector
  readonly args?: CommandArgs
  /** Who commands, for the record. */
  readonly by: string
  /** Only so many percent of the instances that fit: rounded down, at least one. */
  readonly percent?: number
  /** Only when the unit's desired state has this revision. */
  readonly expectedRevision?: number
  /** Repeat of an earlier command: instances that obeyed it answer as they did. */
  readonly id?: string
  readonly token?: number
  /** How long to wait for the answers. Default 20 s: a drain may take its time. */
  readonly timeoutMs?: number
}

/** What came of a command, instance by instance. */
export interface CommandOutcome {
  readonly id: string
  readonly acks: readonly Ack[]
  /** Instances that did not answer. */
  readonly missing: readonly Pick<Ack, 'site' | 'unit' | 'instance'>[]
  readonly ok: boolean
  readonly tookMs: number
}

/** For what the server adds. */
const headroomBytes = 1_024
/** A drain may take its time. */
const patienceMs = 20_000

/** Commands that say what should be from now on, as a change of desired state. */
function patchOf(verb: Verb, args: CommandArgs): DesiredPatch | undefined {
  switch (verb) {
    case 'start':
    case 'resume':
      return { state: 'running' }
    case 'pause':
      return { state: 'paused' }
    case 'drain':
    case 'stop':
      return { state: 'stopped' }
    case 'configure':
      return { config: args.config ?? {}, ...(args.exact === undefined ? {} : { exact: args.exact }) }
    case 'scale':
      return { replicas: args.replicas ?? 1 }
    case 'reset':
      return { state: 'running', config: undefined, replicas: undefined, logLevel: undefined }
    case 'loglevel':
      return args.level === undefined ? undefined : { logLevel: args.level }
    default:
      return undefined
  }
}

/**
 * Commands all instances that fit and resolves with their answers; partial failure is in the outcome, not thrown.
 *
 * @example const outcome = await command(bus, fleet, { verb: 'pause', selector: { unit: 'delays' }, by: 'ada' })
 *
 * @throws MyelinError NO_MATCH, INVALID_CONFIG (nothing was changed), STALE_REVISION, PERMISSION_DENIED
 */
export async function command(bus: Bus, fleet: Fleet, request: CommandRequest): Promise<CommandOutcome> {
  const started = performance.now()
  const { verb, selector, args = {}, by } = request
  if (request.expectedRevision !== undefined && !saysWhatShouldBe(request)) {
    throw failure(
      'INVALID_OPTION',
      `${verb}: a revision is asked for, but this changes no desired state that could have it; leave the revision out, or command whole units (by site and unit, without a percentage)`,
    )
  }
  const states = await DesiredStates.open(bus)
  // a unit without copies has nobody that beats: only its desired state knows of it
  const none = verb === 'scale' || verb === 'reset' ? await withoutCopies(states, fleet, request) : []
  const chosen = none.length > 0 ? [] : choose(fleet, request)
  const id = request.id ?? crypto.randomUUID()
  const at = Date.now()
  const base: Command = {
    id,
    by,
    at,
    revision: 0,
    args,
    ...(request.token === undefined ? {} : { token: request.token }),
  }
  const timeoutMs = request.timeoutMs ?? patienceMs

  const bytes = Buffer.byteLength(JSON.stringify(base)) + headroomBytes
  if (bytes > bus.maxPayloadBytes) {
    const what = `a command of ${bytes} bytes does not fit into a message (${bus.maxPayloadBytes} bytes)`
    throw failure('PAYLOAD_TOO_LARGE', `${what}; keep large data in a file or an object store, and configure where`)
  }
  const asked = verb === 'configure' || saysWhatShouldBe(request)
  const refused = asked ? await askFirst(bus, fleet, chosen, base, verb, timeoutMs) : []
  const entry = { id, at: new Date(at).toISOString(), by, verb, selector: { ...selector }, args } as const
  if (refused.length === 0) await record(bus, { ...entry, outcome: 'issued', results: [] })

  const units = none.length > 0 ? none : unitsOf(chosen)
  const given = refused.length > 0 ? Promise.resolve(refused) : give(bus, fleet, states, request, base, units, chosen)
  const acks = await given.catch(async (error: unknown) => {
    // what was refused is part of the record as well
    await record(bus, { ...entry, outcome: 'failed', note: messageOf(error), results: [] })
    throw error
  })

  const answered = new Set(acks.map(({ site, unit, instance }) => `${site}.${unit}.${instance}`))
  const missing = chosen
    .map(({ beat: { site, unit, instance } }) => ({ site, unit, instance }))
    .filter(({ site, unit, instance }) => !answered.has(`${site}.${unit}.${instance}`))
  const outcome: CommandOutcome = {
    id,
    acks,
    missing,
    ok: missing.length === 0 && acks.every((ack) => ack.ok),
    tookMs: Math.round(performance.now() - started),
  }
  await record(bus, {
    ...entry,
    outcome: outcome.ok ? 'done' : 'failed',
    tookMs: outcome.tookMs,
    results: [
      ...acks.map(({ site, unit, instance, ok, from, to, error }) => ({
        site,
        unit,
        instance,
        ok,
        from,
        to,
        ...(error ? { error } : {}),
      })),
      ...missing.map((one) => ({
        ...one,
        ok: false,
        from: '',
        to: '',
        error: { code: 'DEADLINE_EXCEEDED', message: 'no answer' },
      })),
    ],
  })
  return outcome
}

/** Says what should be from now on, tells the instances, and resolves with their answers. @throws MyelinError STALE_REVISION, FENCED */
async function give(
  bus: Bus,
  fleet: Fleet,
  states: DesiredStates,
  { verb, selector, args = {}, by, percent, expectedRevision, token, timeoutMs = patienceMs }: CommandRequest,
  base: Command,
  units: readonly (readonly [site: string, unit: string])[],
  chosen: readonly Member[],
): Promise<Ack[]> {
  const patch = patchOf(verb, args)
  if (!patch || !saysWhatShouldBe({ verb, selector, args, percent })) {
    const answers = chosen.map((member) => {
      const { site, unit, instance } = member.beat
      return answersTo(bus, fleet, commandSubject(site, unit, instance, verb), base, [member], timeoutMs)
    })
    return (await Promise.all(answers)).flat()
  }
  const acks: Ack[] = []
  for (const [site, unit] of units) {
    const { revision } = await states.patch(site, unit, patch, by, { expected: expectedRevision, token })
    const awaited = chosen.filter(({ beat }) => beat.site === site && beat.unit === unit)
    const subject = commandSubject(site, unit, everyInstance, verb)
    const wanted = verb === 'scale' ? Math.max(awaited.length, args.replicas ?? 1) : awaited.length
    acks.push(...(await answersTo(bus, fleet, subject, { ...base, revision }, awaited, timeoutMs, wanted)))
  }
  return acks
}

/** Whole units get a desired state, which those who come later find as well; single instances are told alone. */
const saysWhatShouldBe = ({
  verb,
  selector,
  args = {},
  percent,
}: Pick<CommandRequest, 'verb' | 'selector' | 'args'> & { percent?: number | undefined }) =>
  patchOf(verb, args) !== undefined && percent === undefined && onlyKeys(selector, ['site', 'unit'])

/** Units that fit, were scaled to nothing, and can be scaled again. */
async function withoutCopies(
  states: DesiredStates,
  fleet: Fleet,
  { selector }: CommandRequest,
): Promise<[site: string, unit: string][]> {
  if (!onlyKeys(selector, ['site', 'unit']) || present(fleet).some(({ beat }) => matches(beat, selector))) return []
  return (await states.all())
    .filter(({ site, unit, desired }) => desired.replicas === 0 && matches({ site, unit }, selector))
    .map(({ site, unit }) => [site, unit])
}

const present = (fleet: Fleet) => fleet.list().filter(({ status }) => status === 'alive' || status === 'suspect')

/** @throws MyelinError NO_MATCH, naming what there is */
function choose(fleet: Fleet, { selector, percent }: CommandRequest): Member[] {
  // one that is named itself is told even when it is silent: the runner of a dead process answers for it
  const named = selector.instance !== undefined && !selector.instance.includes('*')
  const members = named ? fleet.list().filter(({ status }) => status !== 'left') : present(fleet)
  const fitting = members.filter(({ beat }) => matches(beat, selector))
  if (fitting.length === 0) {
    const units = [...new Set(members.map(({ beat }) => beat.unit))].join(', ') || 'none'
    throw failure('NO_MATCH', `no instance fits ${selectorText(selector)}; units that beat: ${units}`)
  }
  if (percent === undefined) return fitting
  if (!(percent > 0 && percent <= 100))
    throw failure('INVALID_OPTION', `percent: expected above 0, up to 100, got ${percent}`)
  return fitting.slice(0, shareOf(fitting.length, percent))
}

const selectorText = (selector: Selector) =>
  Object.entries(selector)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ') || 'an empty selector'

const onlyKeys = (selector: Selector, keys: readonly string[]) =>
  Object.entries(selector).every(([key, value]) => value === undefined || keys.includes(key))

const unitsOf = (members: readonly Member[]): [site: string, unit: string][] => [
  ...new Map(members.map(({ beat: { site, unit } }) => [`${site}.${unit}`, [site, unit] as [string, string]])).values(),
]

/** Refusals that each instance answers for itself; others say something of the command as a whole. */
const ownRefusals: readonly string[] = ['STALE_COMMAND', 'ILLEGAL_TRANSITION']
/** How long a runner may take to say whether it would obey; a configuration may need its module loaded first. */
const askMs = 5_000

/**
 * Asks before anything is written whether everybody would obey: what one instance refuses changes nothing anywhere.
 * Resolves with the answers of those who would not, and of those who are spared because of them.
 * @throws MyelinError INVALID_CONFIG, FENCED, …
 */
async function askFirst(
  bus: Bus,
  fleet: Fleet,
  chosen: readonly Member[],
  base: Command,
  verb: Verb,
  timeoutMs: number,
): Promise<Ack[]> {
  const sent: Command = { ...base, id: `${base.id}-check`, for: verb }
  const withinMs = verb === 'configure' ? timeoutMs : Math.min(timeoutMs, askMs)
  const asked = unitsOf(chosen).map(([site, unit]) => {
    // one that seems dead may still be answered for by its runner, but nobody waits for it here
    const awaited = chosen.filter(({ beat, status }) => beat.site === site && beat.unit === unit && status !== 'dead')
    const subject = commandSubject(site, unit, everyInstance, 'check')
    return answersTo(bus, fleet, subject, sent, awaited, withinMs, Math.max(1, awaited.length))
  })
  const answers = (await Promise.all(asked)).flat()
  const refused = answers.find(({ ok }) => !ok)?.error
  if (!refused) return []
  if (!ownRefusals.includes(refused.code)) throw new MyelinError(refused.code, refused.message)
  const spared = { code: refused.code, message: `nothing was changed, another instance refused: ${refused.message}` }
  return answers.map((ack) => ({ ...ack, id: base.id, ok: false, error: ack.error ?? spared }))
}

/** Who died may still be answered for by its runner, which starts it again; not when nobody is there to hear a command. */
const deathPatienceMs = 15_000
const lookMs = 500

/**
 * Resolves when those who are awaited have answered, and so many in all; or with who did in time. Those whose runner died
 * are not waited for.
 */
async function answersTo(
  bus: Bus,
  fleet: Fleet,
  subject: string,
  sent: Command,
  awaited: readonly Member[],
  timeoutMs: number,
  expected = awaited.length,
): Promise<Ack[]> {
  const acks: Ack[] = []
  const missing = new Set(awaited.map(({ beat }) => beat.instance))
  const data = Buffer.from(JSON.stringify(sent))
  const asked = gather(bus, subject, data, {
    until: (message) => {
      const reply = readJsonObject(message.data)
      if (typeof reply?.instance !== 'string' || typeof reply.ok !== 'boolean') return false // a stranger's
      const ack = reply as unknown as Ack
      acks.push(ack)
      missing.delete(ack.instance)
      // others may answer as well, like one that seemed dead: they do not stand for those that were asked
      return acks.length >= expected && missing.size === 0
    },
    deadline: now() + timeoutMs,
  })
  let aliveAt = now()
  const watching = setInterval(() => {
    const members = fleet.list().filter(({ beat }) => missing.has(beat.instance))
    const alive = members.some(({ status }) => status === 'alive' || status === 'suspect')
    if (members.length > 0 && members.every(({ status }) => status === 'left')) asked.end()
    else if (alive || fleet.blind || missing.size === 0) aliveAt = now()
    else if (now() - aliveAt > deathPatienceMs) asked.end()
    else if (now() - aliveAt > lookMs) {
      // the same again: whoever hears it answers as it did, or will
      bus.request(subject, data, { deadline: now() + lookMs }).catch((error) => {
        if (nobodyThere(error)) asked.end()
      })
    }
  }, lookMs)
  try {
    await asked.ended
  } catch (error) {
    if (!nobodyThere(error)) throw error // else the outcome names who is missing
  } finally {
    clearInterval(watching)
  }
  return acks
}

const nobodyThere = (error: unknown) => error instanceof MyelinError && error.code === 'NO_RESPONDERS'
