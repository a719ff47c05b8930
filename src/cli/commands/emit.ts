// myelin emit, myelin enqueue: an event or a job from the command line.
import type { Command } from 'commander'
import { client, discoverContract } from '../../service/index.ts'
import { checkPayload } from '../check.ts'
import { type ConnectionFlags, onBus, withConnection } from '../connection.ts'
import { milliseconds, payload, print, printJson, twoParts } from '../text.ts'
import { type AnyClient, pick } from './call.ts'

interface Flags extends ConnectionFlags {
  id?: string
  check: boolean
}

export function addEmit(program: Command): void {
  withConnection(program.command('emit'))
    .description('publish an event of a running service; durable events are stored before it returns')
    .argument('<service.event>', 'for example airports.closed')
    .argument('[payload]', 'JSON, @file, or - for stdin; default {}')
    .option('--id <id>', "the event's identity, for deduplication")
    .option('--no-check', "publish it even if it does not fit the service's schema")
    .addHelpText(
      'after',
      `
Example:
  myelin emit airports.closed '{"iata":"ATL","reason":"snow","until":"2001-01-02T12:00:00Z"}'`,
    )
    .action(async (name: string, typed: string | undefined, flags: Flags) => {
      const [service, event] = twoParts(name, '<service>.<event>, like airports.closed')
      const value = await payload(typed)
      await onBus(flags, async (bus) => {
        const contract = await discoverContract(bus, service)
        const { events = {} } = contract.definition
        pick(Object.keys(events), event, 'event', service)
        if (flags.check) checkPayload(events[event]!.payload, value, name)
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
    .option('--no-check', "enqueue it even if it does not fit the service's schema")
    .action(async (name: string, typed: string | undefined, flags: Flags & { delay?: string }) => {
      const [service, job] = twoParts(name, '<service>.<job>, like rebooking.rebook')
      const value = await payload(typed)
      await onBus(flags, async (bus) => {
        const contract = await discoverContract(bus, service)
        const { jobs = {} } = contract.definition
        pick(Object.keys(jobs), job, 'job', service)
        if (flags.check) checkPayload(jobs[job]!.payload, value, name)
        const queued = await (client(bus, contract, { caller: 'myelin-cli' }) as AnyClient)[job].enqueue(value, {
          ...(flags.id ? { id: flags.id } : {}),
          ...(flags.delay ? { delayMs: milliseconds(flags.delay) } : {}),
        })
        if (flags.json) printJson(queued)
        else print(queued.duplicate ? `already queued as ${queued.sequence}` : `queued as ${queued.sequence}`)
      })
    })
}
