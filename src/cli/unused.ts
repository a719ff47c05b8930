// Options that would do nothing beside others: who types one means something by it, so it is refused and never left out
// in silence.
import type { Command } from 'commander'
import { UsageError } from './text.ts'

/**
 * Refuses options that were typed (one from the environment was not meant for this command alone).
 * @param attributes the options' names as in the flags: `dryRun`
 * @param why completes "--watch does nothing …", and says what to do
 * @throws UsageError
 */
export function refuseUnused(command: Command, attributes: readonly string[], why: string): void {
  const typed = command.options
    .map((option) => ({ name: option.long ?? option.flags, attribute: option.attributeName() }))
    .filter(({ attribute }) => attributes.includes(attribute) && command.getOptionValueSource(attribute) === 'cli')
    .map(({ name }) => name)
  if (typed.length > 0) {
    throw new UsageError(`${typed.join(' and ')} ${typed.length > 1 ? 'do' : 'does'} nothing ${why}`)
  }
}
