// myelin server: the embedded nats-server in the foreground.
import { type Command, InvalidArgumentError } from 'commander'
import { embeddedNats } from '../../bus/internal.ts'
import { aborted, interrupted } from '../connection.ts'
import { print, printJson } from '../text.ts'

interface Flags {
  port: number
  host: string
  store: string
  config?: string
  monitorPort?: number
  websocketPort?: number
  memory?: number
  json?: boolean
}

export function addServer(program: Command): void {
  program
    .command('server')
    .description('run a nats-server with JetStream here, until Ctrl-C; other commands in this folder find it')
    .option('-p, --port <port>', 'client port; 0: a free one', port, 4222)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--store <folder>', "JetStream's data", '.myelin/nats')
    .option('-c, --config <file>', 'a nats-server configuration file to start from')
    .option('--monitor-port <port>', 'HTTP monitoring', port)
    .option('--websocket-port <port>', 'WebSocket, without TLS', port)
    .option('--memory <megabytes>', 'soft memory limit', megabytes)
    .option('--json', 'say where it listens as one JSON object')
    .addHelpText('after', '\nExamples:\n  myelin server\n  myelin server --port 0 --json\n  myelin server -c nats.conf')
    .action(async (flags: Flags) => {
      const signal = interrupted()
      await using server = await embeddedNats({
        port: flags.port,
        host: flags.host,
        storeDir: flags.store,
        ...(flags.config ? { configFile: flags.config } : {}),
        ...(flags.monitorPort === undefined ? {} : { monitorPort: flags.monitorPort }),
        ...(flags.websocketPort === undefined ? {} : { websocketPort: flags.websocketPort }),
        ...(flags.memory ? { memoryLimitBytes: flags.memory * 1024 ** 2 } : {}),
        onEvent: (event) => {
          if (event.type !== 'started' && event.type !== 'stopped') process.stderr.write(`${JSON.stringify(event)}\n`)
        },
      })
      const { url, pid, storeDir, websocketUrl, monitorUrl } = server
      if (flags.json) printJson({ url, pid, storeDir, websocketUrl, monitorUrl })
      else {
        print(`nats-server ${url} (pid ${pid}), data in ${storeDir}`)
        if (websocketUrl) print(`  websocket ${websocketUrl}`)
        if (monitorUrl) print(`  monitor   ${monitorUrl}`)
      }
      // waiting for a signal keeps no process alive
      const alive = setInterval(() => undefined, 60_000)
      const reason = await Promise.race([server.closed(), aborted(signal)])
      clearInterval(alive)
      if (reason) {
        process.stderr.write(`${reason}\n`)
        process.exitCode = 1
      }
    })
}

/** @throws InvalidArgumentError */
function megabytes(typed: string): number {
  if (!/^\d+(\.\d+)?$/.test(typed) || !(Number(typed) > 0))
    throw new InvalidArgumentError('expected a number of megabytes above 0')
  return Number(typed)
}

/** A port as typed. @throws InvalidArgumentError */
export function port(typed: string): number {
  if (!/^\d+$/.test(typed) || Number(typed) > 65_535) throw new InvalidArgumentError('expected a port from 0 to 65535')
  return Number(typed)
}
