// myelin call: one request to a service, from the command line.
import type { Command } from 'commander'
import { failure } from '../../bus/internal.ts'
import { nearest } from '../../runtime/index.ts'
import { client, discoverContract } from '../../service/index.ts'
import { type ConnectionFlags, interrupted, onBus, withConnection } from '../connection.ts'
import { milliseconds, payload, printJson, printValue, twoParts } from '../text.ts'
import { refuseUnused } from '../unused.ts'

interface Flags extends ConnectionFlags {
  timeout: string
  all?: boolean
}

// biome-ignore lint/suspicious/noExplicitAny: which members there are is known only when the service has answered
export type AnyClient = Record<string, any>

/** The member of a service's client that a name means. @throws MyelinError UNKNOWN_ENDPOINT with what there is */
export function pick(names: readonly string[], name: string, what: string, service: string): void {
  if (names.includes(name)) return
  const near = nearest(name, names)
  const offered = names.length > 0 ? `it offers: ${names.join(', ')}` : `it offers none`
  throw failure(
    'UNKNOWN_ENDPOINT',
    `${service} has no ${what} "${name}"; ${near ? `did you mean "${near}"? ` : ''}${offered}`,
  )
}

export function addCall(program: Command): void {
  withConnection(program.command('call'))
    .description('call an endpoint and print its reply; items of a streamed reply come a line each')
    .argument('<service.endpoint>', 'for example airports.get')
    .argument('[payload]', 'JSON, @file, or - for stdin; default {}')
    .option('-t, --timeout <duration>', 'how long to wait', '5s')
    .option('--all', 'ask every instance and print all answers')
    .addHelpText(
      'after',
      `
Examples:
  myelin call airports.get '{"iata":"ATL"}'
  myelin call airports.search '{"text":"san"}' --json | head -3
  myelin call flights.speed '{"speed":"max"}' --all`,
    )
    .action(async (name: string, typed: string | undefined, flags: Flags, made: Command) => {
      const [service, endpoint] = twoParts(name, '<service>.<endpoint>, like airports.get')
      const input = await payload(typed)
      const timeoutMs = milliseconds(flags.timeout)
      const signal = interrupted()
      await onBus(flags, async (bus) => {
        const contract = await discoverContract(bus, service)
        const endpoints = contract.definition.endpoints ?? {}
        pick(Object.keys(endpoints), endpoint, 'endpoint', service)
        const api = client(bus, contract, { caller: 'myelin-cli' }) as AnyClient
        if ('stream' in endpoints[endpoint]!.out) {
          refuseUnused(made, ['all'], `with ${name}, whose reply is streamed: one instance answers; leave it out`)
          for await (const item of api[endpoint](input, { timeoutMs, signal })) printJson(item)
        } else if (flags.all) {
          for (const answer of await api[endpoint].gather(input, { timeoutMs, signal })) {
            printJson(answer.ok ? answer.value : { error: { code: answer.error.code, message: answer.error.message } })
          }
        } else printValue(await api[endpoint](input, { timeoutMs, signal }), flags.json)
      })
    })
}
