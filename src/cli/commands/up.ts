// myelin up: the composition of this folder.
import type { Command } from 'commander'
import { type BusEvent, belowWish, connect, failure } from '../../bus/internal.ts'
import {
  checkNames,
  checkUnits,
  compositionJsonSchema,
  type InstanceStatus,
  inOwnProcesses,
  loadComposition,
  type Running,
  touchedUnits,
  up,
  watchFiles,
} from '../../runtime/index.ts'
import {
  aborted,
  type ConnectionFlags,
  connectOptions,
  interrupted,
  reportFailure,
  withConnection,
} from '../connection.ts'
import { fewCopies, print, printJson, table, UsageError } from '../text.ts'
import { refuseUnused } from '../unused.ts'
import { port } from './server.ts'

interface Flags extends ConnectionFlags {
  only?: string
  site?: string
  http?: number
  watch?: boolean
  failFast?: boolean
  dryRun?: boolean
  schema?: boolean
}

export function addUp(program: Command): void {
  withConnection(program.command('up'))
    .description('run a composition until Ctrl-C; without a server, on an embedded one')
    .argument('[path]', 'myelin.config.ts, myelin.yaml, or a folder with one of them', '.')
    .option('--only <units>', 'only these, separated by commas')
    .option('--site <site>', 'only what runs at this site')
    .option('--http <port>', 'serve /healthz, /readyz and /metrics there; 0: a free port', port)
    .option('--watch', 'start anew what a changed file touches; every unit runs in a process of its own')
    .option('--fail-fast', 'end when one unit is given up; without it the others go on')
    .option('--dry-run', 'check the file, its modules and configurations, and say what would run')
    .option('--schema', 'print the JSON Schema of composition files')
    .addHelpText(
      'after',
      '\nExamples:\n  myelin up\n  myelin up examples/airline --only airports,board\n  myelin up --dry-run --json',
    )
    .action(async (path: string, flags: Flags, command: Command) => {
      if (flags.schema) {
        const others = ['only', 'site', 'http', 'watch', 'failFast', 'dryRun', 'server', 'creds']
        refuseUnused(command, others, 'with --schema, which prints a schema and runs nothing: leave one out')
        if (command.args.length > 0)
          throw new UsageError(`--schema is the same for every composition: leave out ${path}`)
      }
      if (flags.dryRun) {
        const others = ['http', 'watch', 'failFast', 'server', 'creds']
        refuseUnused(command, others, 'with --dry-run, which starts nothing and asks no server: leave one out')
      }
      if (flags.schema) return printJson(await compositionJsonSchema())
      const read = await loadComposition(path)
      const loaded = flags.watch ? inOwnProcesses(read) : read
      const only = flags.only?.split(',').map((name) => name.trim())
      if (flags.dryRun) {
        checkNames(loaded.composition, { ...(only ? { only } : {}), ...(flags.site ? { site: flags.site } : {}) })
        const planned = Object.entries(loaded.composition.units)
          .filter(([name, { site }]) => (only?.includes(name) ?? true) && (!flags.site || !site || site === flags.site))
          .map(([unit, { use, replicas, isolation }]) => ({
            unit,
            use: typeof use === 'string' ? use : use.name,
            replicas,
            isolation,
          }))
        await checkUnits(
          loaded,
          planned.map(({ unit }) => unit),
        )
        if (flags.json) printJson(planned)
        else
          print(
            table(
              ['UNIT', 'USE', 'REPLICAS', 'ISOLATION'],
              planned.map((p) => [p.unit, p.use, p.replicas, p.isolation]),
            ),
          )
        return
      }
      const signal = interrupted()
      await using bus = await connect({ ...connectOptions(flags), name: loaded.composition.name, embed: true })
      bus.on((event) => {
        const text = eventText(event)
        if (text) process.stderr.write(`${text}\n`)
      })
      const lost = bus.closed().then((error) => error ?? failure('SERVER_UNREACHABLE', 'the connection was closed'))
      const report = (status: InstanceStatus) => {
        if (flags.json) printJson(status)
        else print(`${status.unit}.${status.instance} ${status.state}${status.error ? `: ${status.error}` : ''}`)
      }
      const running = await up(bus, loaded, {
        signal,
        connect: { ...connectOptions(flags), servers: [...new Set([bus.url, ...bus.servers])] },
        onChange: report,
        ...(only ? { only } : {}),
        ...(flags.site ? { site: flags.site } : {}),
        ...(flags.http === undefined ? {} : { httpPort: flags.http }),
      }).catch((error) => {
        if (signal.aborted) return undefined // asked to end while units started: they are drained
        throw error
      })
      if (!running) return
      await using _ = running
      if (!flags.json) {
        if (running.httpPort) print(`health and metrics: http://127.0.0.1:${running.httpPort}/metrics`)
        print(`${running.name} runs on ${bus.url}; Ctrl-C drains it`)
        const few = fewCopies(await belowWish(bus))
        if (few !== '') process.stderr.write(`${few}\n`)
      }
      const stopWatching = flags.watch ? follow(running, path, loaded.folder, flags.json) : () => undefined
      const failed = await Promise.race([aborted(signal), lost, flags.failFast ? running.failed : running.over])
      stopWatching()
      if (failed) throw failed
      if (running.status().some(({ state }) => state === 'failed')) process.exitCode = 1 // one was given up meanwhile
      await running.drain()
      const stuck = running.status().filter(({ state }) => state === 'failed')
      if (stuck.length === 0) return
      for (const { error } of stuck) process.stderr.write(`UNIT_FAILED: ${error}\n`)
      // what such a unit still holds would keep this process for ever
      await bus.close()
      process.exit(1)
    })
}

/** What an operator is told of the server that this process runs. */
function eventText(event: BusEvent): string | undefined {
  if (event.type === 'took-over')
    return `the process that ran the server here ended; this one runs it now: ${event.server}`
  if (event.type === 'disk-full')
    return `the disk of ${event.storeDir} is full: the server refuses messages (STREAM_FULL) until there is room again`
  if (event.type === 'disk-freed')
    return `the disk of ${event.storeDir} has room again: the server was restarted and takes messages`
  return undefined
}

/** Goes on with what changed; a change that cannot be used changes nothing and is told. */
function follow(running: Running, path: string, folder: string, json: boolean | undefined): () => void {
  let busy: Promise<unknown> = Promise.resolve()
  return watchFiles(folder, (files) => {
    busy = busy.then(async () => {
      try {
        const loaded = inOwnProcesses(await loadComposition(path, { fresh: true }))
        const { did, errors } = await running.reload(loaded, await touchedUnits(loaded, files))
        for (const change of did) {
          if (json) printJson(change)
          else print(`${change.unit} ${change.did}`)
        }
        for (const error of errors) reportFailure(error, json ?? false)
      } catch (error) {
        reportFailure(error, json ?? false)
      }
      process.exitCode = 0 // what ran before still runs, and the next change may fix it
    })
  })
}
