// The `myelin` command. It holds no logic of its own: every command is a thin face of a pattern's door.
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
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
import { addRollout } from './commands/rollout.ts'
import { addServer } from './commands/server.ts'
import { addStream } from './commands/stream.ts'
import { addTail } from './commands/tail.ts'
import { addTop } from './commands/top.ts'
import { addUp } from './commands/up.ts'
import { tellFailure } from './connection.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

const program = new Command('myelin')
  .description('Build, move data between, watch and steer microservices on NATS.')
  .version(version)
  .showSuggestionAfterError()
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text) })

for (const add of [
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

// `myelin … | head` closes the pipe early; that is no failure
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})
process.env.MYELIN_LOG ??= 'warn'

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    tellFailure(error, process.argv.includes('--json'))
    // what was said is flushed; a socket that was dialled, or a timer, keeps no failed command any longer
    for (const stream of [process.stdout, process.stderr]) await new Promise((resolve) => stream.write('', resolve))
    process.exit()
  }
}
