// myelin emit, myelin enqueue: an event or a job from the command line.
import type { Command } from 'commander'
import { client, discoverContract } from '../../service/index.ts'
import { type ConnectionFlags, onBus, withConnection } from '../connection.ts'
import { milliseconds, payload, print, printJson, twoParts } from '../text.ts'
import { type AnyClient, pick } from './call.ts'

export function addEmit(program: Command): void {
  withConnection(program.command('emit'))
    .description('publish an event of a running service; durable events are stored before it returns')
    .argument('<service.event>', 'for example airports.closed')
    .argument('[payload]', 'JSON, @file, or - for stdin; default {}')
    .option('--id <id>', "the event's identity, for deduplication")
    .addHelpText(
      'after',
      `
Example:
  myelin emit airports.closed '{"iata":"ATL","reason":"snow","until":"2001-01-02T12:00:00Z"}'`,
    )
    .action(async (name: string, typed: string | undefined, flags: ConnectionFlags & { id?: string }) => {
      const [service, event] = twoParts(name, '<service>.<event>, like airports.closed')
      const value = await payload(typed)
      await onBus(flags, async (bus) => {
        const contract = await discoverContract(bus, service)
        pick(Object.keys(contract.definition.events ?? {}), event, 'event', service)
        const stored = await (client(bus, contract, { caller: 'myelin-cli' }) as AnyClient)[event].publish(
          value,
          flags.id ? { id: flags.id } : {},
        )
        await bus.flush()
        if (flags.json) printJson(stored ?? { published: true })
        else if (!stored) print('published')
        else print(stored.duplicate ? `already stored as ${stored.sequence}` : `stored as ${stored.sequence}`)
      })
    })
}

export function addEnqueue(program: Command): void {
  withConnection(program.command('enqueue'))
    .description('put a job into the queue of a running service')
    .argument('<service.job>', 'for example rebooking.rebook')
    .argument('[payload]', 'JSON, @file, or - for stdin; default {}')
    .option('--id <id>', "the job's identity, for deduplication")
    .option('--delay <duration>', 'not before so long from now')
    .action(
      async (name: string, typed: string | undefined, flags: ConnectionFlags & { id?: string; delay?: string }) => {
        const [service, job] = twoParts(name, '<service>.<job>, like rebooking.rebook')
        const value = await payload(typed)
        await onBus(flags, async (bus) => {
          const contract = await discoverContract(bus, service)
          pick(Object.keys(contract.definition.jobs ?? {}), job, 'job', service)
          const queued = await (client(bus, contract, { caller: 'myelin-cli' }) as AnyClient)[job].enqueue(value, {
            ...(flags.id ? { id: flags.id } : {}),
            ...(flags.delay ? { delayMs: milliseconds(flags.delay) } : {}),
          })
          if (flags.json) printJson(queued)
          else print(queued.duplicate ? `already queued as ${queued.sequence}` : `queued as ${queued.sequence}`)
        })
      },
    )
}
