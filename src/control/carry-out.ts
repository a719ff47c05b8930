// Carrying out a rollout: batch after batch, watched, rolled back when it does worse, written down before it is done.
import { type Bus, MyelinError, messageOf, sleep } from '../bus/internal.ts'
import type { Fleet } from '../heartbeat/index.ts'
import { record } from './audit.ts'
import { aborted, bake } from './bake.ts'
import { command } from './commands.ts'
import { DesiredStates } from './desired.ts'
import { able, over, type Rollout, type Rollouts } from './rollout.ts'
import { shareOf } from './share.ts'

/** How often, and how many times, one looks again for what may come at any moment. */
const againMs = 250
const tries = 20
/** The runner of a dead process answers for it, if it is alive itself. */
const deadMs = 10_000

/**
 * Carries out a rollout until it is over, paused, or this controller does not lead any more.
 * @throws whatever may pass, like a lost connection: it can be gone on with then
 */
export async function carryOut(
  bus: Bus,
  fleet: Fleet,
  rollouts: Rollouts,
  id: string,
  { token, signal }: { token: number; signal: AbortSignal },
): Promise<void> {
  const taken = await rollouts.take(id)
  if (!taken || over(taken.rollout.phase)) return // another controller has ended it
  let { rollout, revision } = taken
  // put up at the same moment as another one, which may be the one that goes on; it is gone then, or never went on
  for (let i = 0; !(await rollouts.holds(rollout)); i++) {
    if (signal.aborted || !(await rollouts.take(id))) return
    if (i < tries) await sleep(againMs, signal)
    else return void (await rollouts.save({ ...rollout, phase: 'failed', note: 'another one was faster' }, revision))
  }
  const save = async (change: Partial<Rollout>) => {
    ;({ rollout, revision } = await rollouts.save({ ...rollout, ...change }, revision))
  }
  const states = await DesiredStates.open(bus)
  const everybody = () => {
    const { unit, site } = rollout.spec
    return fleet.list({ unit, ...(site === undefined ? {} : { site }) })
  }
  /** Each site has a configuration of its own. Resolves with those who did not follow, and why. */
  const configure = async (instances: readonly string[], change: Readonly<Record<string, unknown>>) => {
    const known = new Map(everybody().map((member) => [member.beat.instance, member]))
    const answered = instances.map(async (instance) => {
      const { unit } = rollout.spec
      const member = known.get(instance)
      const { site } = member?.beat ?? rollout.spec
      const before = site === undefined ? {} : rollout.before[site]
      const outcome = await command(bus, fleet, {
        verb: 'configure',
        selector: { unit, instance, ...(site === undefined ? {} : { site }) },
        args: { config: { ...before, ...change } },
        by: `rollout ${id}`,
        token,
        ...(member?.status === 'dead' ? { timeoutMs: deadMs } : {}),
      })
      const refused = outcome.acks.find(({ ok }) => !ok)
      if (refused) return `${instance}: ${refused.error?.message}`
      const left = everybody().some(({ beat, status }) => beat.instance === instance && status === 'left')
      return outcome.missing.length > 0 && !left ? `${instance} did not answer` : undefined
    })
    const results = await Promise.allSettled(answered)
    for (const result of results) if (result.status === 'rejected' && mayPass(result.reason)) throw result.reason
    return results.flatMap((result, i) =>
      result.status === 'rejected' ? `${instances[i]}: ${messageOf(result.reason)}` : (result.value ?? []),
    )
  }
  const back = async (why: string) => {
    await save({ back: why, note: `going back: ${why}` })
    // the dead as well: the runner of a unit whose process died answers for it
    const there = everybody().filter(({ status }) => status !== 'left')
    const known = new Set(there.map(({ beat }) => beat.instance))
    const not = await configure(
      rollout.updated.filter((instance) => known.has(instance)),
      {},
    )
    const note = not.length === 0 ? why : `${why}; not everybody went back: ${not.join('; ')}`
    await save({ phase: 'rolled-back', updated: [], pending: [], note })
  }
  /** Nobody is at work: those who died are no reason to say that all went well, nor are those who left. */
  const nobody = async () => {
    const dead = everybody().filter(({ status }) => status === 'dead')
    if (dead.length > 0) return back(`${dead.map(({ beat }) => beat.instance).join(', ')} died`)
    const note = `no instance of unit "${rollout.spec.unit}" is left to be given the new configuration; desired state is as it was`
    await save({ phase: 'failed', pending: [], note })
  }
  /** From now on also for those who come later; what a site was told meanwhile stays. */
  const settle = async () => {
    const { unit, config } = rollout.spec
    for (const site of Object.keys(rollout.before)) {
      const now = (await states.get(site, unit))?.desired.config
      await states.patch(site, unit, { config: { ...now, ...config } }, `rollout ${id}`, { token })
    }
  }

  try {
    while (!over(rollout.phase) && !signal.aborted) {
      const { spec } = rollout
      const wish = await rollouts.wish(id)
      if (rollout.back !== undefined || wish === 'aborted') {
        await back(rollout.back ?? aborted)
        break
      }
      if (wish === 'paused') {
        if (rollout.phase !== 'paused') await save({ phase: 'paused', note: 'paused by command' })
        return
      }
      if (rollout.phase === 'paused') await save({ phase: 'running', note: 'resumed' })
      const members = able(fleet, spec)
      // one that began to watch just now, or whose server did, may not have heard of them yet
      for (let i = 0; members.length === 0 && i < tries && !signal.aborted; i++) {
        await sleep(againMs, signal)
        members.push(...able(fleet, spec))
      }
      if (signal.aborted) return
      if (members.length === 0) {
        await nobody()
        break
      }
      if (rollout.pending.length === 0) {
        const updated = new Set(rollout.updated)
        const waiting = members.filter(({ beat }) => !updated.has(beat.instance))
        if (waiting.length === 0) {
          await settle()
          await save({ phase: 'done', note: `all ${members.length} instances` })
          break
        }
        const batch = waiting.slice(0, shareOf(members.length, spec.batchPercent))
        const names = batch.map(({ beat }) => beat.instance)
        const before = { ...rollout.before }
        for (const site of new Set(batch.map(({ beat }) => beat.site)))
          before[site] ??= (await states.get(site, spec.unit))?.desired.config ?? {}
        // written down before it is done: whoever takes over knows what may have to go back
        await save({
          total: members.length,
          before,
          updated: [...rollout.updated, ...names],
          pending: names,
          note: `configuring ${names.join(', ')}`,
        })
      }
      const left = everybody().filter(({ status }) => status === 'left')
      const gone = new Set(left.map(({ beat }) => beat.instance))
      const refused = await configure(
        rollout.pending.filter((instance) => !gone.has(instance)),
        spec.config,
      )
      if (refused.length > 0) {
        await back(refused.join('; '))
        break
      }
      const worse = await bake(fleet, rollouts, rollout, signal, (note) => save({ note }))
      if (signal.aborted) return // its successor watches this batch again
      if (worse) {
        await back(worse)
        break
      }
      await save({ pending: [] })
    }
  } catch (error) {
    if (signal.aborted || superseded(error)) return
    if (mayPass(error)) throw error
    if (rollout.updated.length > 0 && rollout.back === undefined) await back(messageOf(error))
    else await save({ phase: 'failed', note: messageOf(error) })
  }
  if (!over(rollout.phase)) return
  await record(bus, {
    id,
    at: new Date().toISOString(),
    by: rollout.spec.by,
    verb: 'rollout',
    selector: { unit: rollout.spec.unit },
    args: { config: rollout.spec.config },
    outcome: rollout.phase === 'done' ? 'done' : 'failed',
    note: `${rollout.phase}: ${rollout.note}`,
    results: [],
  })
}

/** Somebody else leads and has gone on with it. */
const superseded = (error: unknown) =>
  error instanceof MyelinError && (error.code === 'FENCED' || error.code === 'WRONG_SEQUENCE')

/** What the connection or the server could not do now. */
const mayPass = (error: unknown) => superseded(error) || !(error instanceof MyelinError) || error.retriable
