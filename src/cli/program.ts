// The `myelin` command as data: its commands with their options and examples; help, completion and docs/reference come from it.
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { addCall } from './commands/call.ts'
import { addCompletion } from './commands/completion.ts'
import { addContract } from './commands/contract.ts'
import { addCtl } from './commands/ctl.ts'
import { addDead } from './commands/dead.ts'
import { addDiff } from './commands/diff.ts'
import { addEmit, addEnqueue } from './commands/emit.ts'
import { addErrors } from './commands/errors.ts'
import { addList } from './commands/list.ts'
import { addLogs } from './commands/logs.ts'
import { addLs } from './commands/ls.ts'
import { addNew } from './commands/new.ts'
import { addRollout } from './commands/rollout.ts'
import { addServer } from './commands/server.ts'
import { addStream } from './commands/stream.ts'
import { addTail } from './commands/tail.ts'
import { addTop } from './commands/top.ts'
import { addUp } from './commands/up.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

/** The command with everything below it. */
export function commands(): Command {
  const program = new Command('myelin')
    .description('Build, move data between, watch and steer microservices on NATS.')
    .version(version)
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text) })

  for (const add of [
    addNew,
    addUp,
    addList,
    addServer,
    addLs,
    addTop,
    addLogs,
    addCtl,
    addRollout,
    addDiff,
    addCall,
    addEmit,
    addEnqueue,
    addTail,
    addDead,
    addStream,
    addContract,
    addErrors,
    addCompletion,
  ]) {
    add(program)
  }
  return program
}
