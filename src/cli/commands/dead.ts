// myelin dead: the messages a service could not handle, and putting them back.
import type { Command } from 'commander'
import { failure } from '../../bus/internal.ts'
import { deadLetters, redrive } from '../../service/index.ts'
import { type ConnectionFlags, onBus, withConnection } from '../connection.ts'
import { print, printJson, printValue, table, UsageError, whole } from '../text.ts'
import { refuseUnused } from '../unused.ts'

interface Flags extends ConnectionFlags {
  name?: string
  limit?: string
  all?: boolean
}

export function addDead(program: Command): void {
  const dead = program.command('dead').description('dead letters: what a service gave up, with the reason')
  withConnection(dead.command('ls'))
    .description('list them, oldest first')
    .argument('<service>')
    .option('--name <job or event>', 'only of this job or event')
    .option('-n, --limit <count>', 'at most so many', '100')
    .action(async (service: string, flags: Flags) => {
      const letters = await onBus(flags, (bus) =>
        deadLetters(bus, service, {
          limit: whole(flags.limit, '--limit'),
          ...(flags.name ? { name: flags.name } : {}),
        }).catch((error) => {
          if (error.code === 'STREAM_NOT_FOUND') return [] // nothing was ever given up
          throw error
        }),
      )
      if (flags.json) return printJson(letters)
      if (letters.length === 0) return print(`${service} has no dead letters`)
      print(
        table(
          ['SEQ', 'KIND', 'NAME', 'TRIES', 'CODE', 'REASON', 'AT'],
          letters.map((l) => [l.sequence, l.kind, l.name, l.attempts, l.code, l.reason.slice(0, 60), l.at]),
        ),
      )
    })
  withConnection(dead.command('show'))
    .description('one of them, with its payload')
    .argument('<service>')
    .argument('<sequence>')
    .action(async (service: string, sequence: string, flags: Flags) => {
      const wanted = whole(sequence, 'sequence')
      const [letter] = await onBus(flags, (bus) => deadLetters(bus, service, { sequences: [wanted] }))
      if (!letter)
        throw failure(
          'INVALID_INPUT',
          `${service} has no dead letter ${wanted}; \`myelin dead ls ${service}\` lists them`,
        )
      printValue(letter, flags.json)
    })
  withConnection(dead.command('redrive'))
    .description('put them back where they came from')
    .argument('<service>')
    .argument('[sequence...]')
    .option('--all', 'every one of them')
    .option('--name <job or event>', 'all of this job or event')
    .addHelpText('after', '\nExamples:\n  myelin dead redrive rebooking 17 18\n  myelin dead redrive rebooking --all')
    .action(async (service: string, typed: string[], flags: Flags, made: Command) => {
      if (typed.length === 0 && !flags.all && !flags.name)
        throw new UsageError('name the sequences to put back, or give --all or --name')
      if (typed.length > 0) refuseUnused(made, ['all', 'name'], 'beside sequences: give the one or the other')
      if (flags.name) refuseUnused(made, ['all'], 'beside --name: leave out --name to put back every one, else --all')
      const sequences = typed.map((text) => whole(text, 'sequence'))
      const back = await onBus(flags, (bus) =>
        redrive(bus, service, {
          ...(sequences.length > 0 ? { sequences } : {}),
          ...(flags.name ? { name: flags.name } : {}),
        }),
      )
      if (flags.json) printJson(back.map(({ error, ...letter }) => (error ? { ...letter, error: error.code } : letter)))
      else {
        const stayed = back.filter(({ error }) => error)
        print(`${back.length - stayed.length} put back`)
        for (const { sequence, error } of stayed) print(`${sequence} stays: ${error!.code}: ${error!.message}`)
      }
      if (back.some(({ error }) => error)) process.exitCode = 1
    })
}
