// How instances are shown: one line each, and why those failed that did.
import { conditionOf, type Member } from '../heartbeat/index.ts'
import { ago, table } from './text.ts'

const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`

const dash = (value: number | undefined, show: (value: number) => string = String) =>
  value === undefined ? '-' : show(value)

export function fleetTable(members: readonly Member[], options: { sparkOf?: (member: Member) => string } = {}): string {
  const now = Date.now()
  const { sparkOf } = options
  const shown = table(
    [
      'UNIT',
      'INSTANCE',
      'SITE',
      'KIND',
      'VERSION',
      'CONDITION',
      'RATE/S',
      ...(sparkOf ? [''] : []),
      'LAG',
      'ERRORS',
      'CPU',
      'MEMORY',
      'UP',
      'REV',
      'PID',
    ],
    members.map((member) => {
      const { beat } = member
      const { vitals } = beat
      return [
        beat.unit,
        beat.instance,
        beat.site,
        beat.kind,
        beat.version,
        condition(member),
        dash(vitals.rate),
        ...(sparkOf ? [sparkOf(member)] : []),
        dash(vitals.lag),
        dash(vitals.errors),
        dash(vitals.cpu, (cpu) => `${Math.round(cpu * 100)}%`),
        dash(vitals.rssBytes, megabytes),
        ago(now - beat.startedAt),
        beat.revision,
        beat.pid,
      ]
    }),
  )
  const reasons = members.flatMap(({ beat }) =>
    beat.reason === undefined ? [] : [`${beat.unit}.${beat.instance}: ${beat.reason}`.replace(/\p{Cc}+/gu, ' ')],
  )
  return [shown, ...reasons].join('\n')
}

/** What is worst about an instance, with how long or why. */
function condition(member: Member): string {
  const condition = conditionOf(member)
  if (condition === 'suspect' || condition === 'dead') return `${condition} ${ago(member.silentMs)}`
  if (condition === 'busy' && member.beat.stallMs) return `busy ${(member.beat.stallMs / 1_000).toFixed(1)}s`
  const failing = member.beat.checks.find(({ status }) => status !== 'ok')
  return failing && member.status === 'alive' ? `${condition}: ${failing.name}` : condition
}

/** An instance for programs. */
export function memberJson(member: Member): unknown {
  return { condition: conditionOf(member), status: member.status, silentMs: member.silentMs, ...member.beat }
}
