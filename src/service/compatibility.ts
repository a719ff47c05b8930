// A service that starts beside instances of another version of its contract: what would break programs that were written
// for theirs is reported once, in the log, and keeps nothing from starting.
import { type Bus, messageOf } from '../bus/internal.ts'
import { type Contract, type ContractDiff, diffContracts, shapeOf } from '../contract/internal.ts'
import type { Logger } from '../unit/internal.ts'
import { runningContracts } from './discover.ts'

const majorOf = (version: string) => version.split('.')[0]

/** Looks, while the service works already, which contracts of the same major version run; never rejects. */
export async function reportBreaking(bus: Bus, contract: Contract, instance: string, log: Logger): Promise<void> {
  const mine = contract.definition.version
  try {
    const found = await runningContracts(bus, contract.name)
    const others = found.filter(
      (other) => other.instance !== instance && majorOf(other.contract.definition.version) === majorOf(mine),
    )
    if (others.length === 0) return
    const own = shapeOf(contract)
    const reported = new Set<string>()
    for (const other of others) {
      const diff = diffContracts(shapeOf(other.contract), own)
      const text = diff.compatible ? '' : inOneLine(diff)
      if (text === '' || reported.has(text)) continue
      reported.add(text)
      log.warn(
        { contract: contract.name, running: diff.old, started: diff.new, instance: other.instance },
        `contract ${contract.name} ${mine} breaks ${diff.old}, which instance ${other.instance} runs: ${text}; for all of it: npx myelin contract diff <its module> --running`,
      )
    }
  } catch (error) {
    // it may not ask, or the connection went away: what runs is as good as it was
    log.debug({ reason: messageOf(error) }, 'the contracts of other instances could not be compared')
  }
}

function inOneLine({ changes }: ContractDiff): string {
  const [first, ...others] = changes.filter(({ effect }) => effect === 'breaking')
  const more = others.length > 0 ? ` (and ${others.length} more)` : ''
  const where = [first!.name, first!.path].filter(Boolean).join('.')
  return `${where}: ${first!.reason}, for ${first!.for.join(' and ')}${more}`
}
