// The `myelin` command. It holds no logic of its own: every command is a thin face of a pattern's door.
import { CommanderError } from 'commander'
import { reportFailure } from './connection.ts'
import { commands } from './program.ts'

// `myelin … | head` closes the pipe early; that is no failure
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})
process.env.MYELIN_LOG ??= 'warn'

try {
  await commands().parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    reportFailure(error, process.argv.includes('--json'))
    // what was said is flushed; a socket that was dialled, or a timer, keeps no failed command any longer
    for (const stream of [process.stdout, process.stderr]) await new Promise((resolve) => stream.write('', resolve))
    process.exit()
  }
}
