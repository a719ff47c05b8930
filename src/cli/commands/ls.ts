// myelin ls: which services run, by the NATS service API.
import type { Command } from 'commander'
import { discover } from '../../service/index.ts'
import { type ConnectionFlags, onBus, withConnection } from '../connection.ts'
import { milliseconds, print, printJson, table } from '../text.ts'

export function addLs(program: Command): void {
  withConnection(program.command('ls'))
    .description('list running services and their endpoints')
    .argument('[service]', 'only this one')
    .option('--wait <duration>', 'how long to wait for answers', '300ms')
    .addHelpText('after', '\nExamples:\n  myelin ls\n  myelin ls airports --json')
    .action(async (service: string | undefined, flags: ConnectionFlags & { wait: string }) => {
      const found = await onBus(flags, (bus) =>
        discover(bus, { ...(service === undefined ? {} : { service }), waitMs: milliseconds(flags.wait) }),
      )
      if (flags.json) return printJson(found)
      if (found.length === 0) return print(service ? `no instance of "${service}" answers` : 'no service answers')
      const rows = found.flatMap(({ name, id, version, endpoints }) =>
        (endpoints.length > 0 ? endpoints : [undefined]).map((endpoint) => [
          name,
          id,
          version,
          endpoint?.name ?? '-',
          endpoint?.requests ?? 0,
          endpoint?.errors ?? 0,
          endpoint && endpoint.requests > 0 ? `${endpoint.averageMs.toFixed(2)} ms` : '-',
        ]),
      )
      print(table(['SERVICE', 'INSTANCE', 'VERSION', 'ENDPOINT', 'REQUESTS', 'ERRORS', 'MEAN'], rows))
    })
}
