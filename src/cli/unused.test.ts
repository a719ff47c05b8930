// Options that would do nothing beside others are refused in one sentence, before anything is done.
import { Command } from 'commander'
import { expect, it } from 'vitest'
import { addCtl } from './commands/ctl.ts'
import { addDead } from './commands/dead.ts'
import { addLogs } from './commands/logs.ts'
import { addLs } from './commands/ls.ts'
import { addServer } from './commands/server.ts'
import { addStream } from './commands/stream.ts'
import { addUp } from './commands/up.ts'

async function refusalOf(typed: string): Promise<string> {
  const program = new Command().exitOverride().configureOutput({ writeErr: () => undefined })
  for (const add of [addCtl, addDead, addLogs, addLs, addServer, addStream, addUp]) add(program)
  const withOverride = (command: Command): void => {
    command.exitOverride().configureOutput({ writeErr: () => undefined })
    command.commands.forEach(withOverride)
  }
  withOverride(program)
  const refused: unknown = await program.parseAsync(typed.split(' '), { from: 'user' }).then(
    () => 'it was carried out',
    (error) => error,
  )
  return String(refused)
}

it.each([
  ['up --dry-run --watch', /--watch does nothing with --dry-run/],
  ['up --dry-run --http 0 --fail-fast', /--http and --fail-fast do nothing with --dry-run/],
  ['up --dry-run --server nats://127.0.0.1:1', /--server does nothing with --dry-run/],
  ['up --schema --site atl', /--site does nothing with --schema/],
  ['up examples --schema', /leave out examples/],
  ['ls --wait 1s', /--wait does nothing without --services/],
  ['ls --services airports flights', /name of one service or none, got "airports flights"/],
  ['ls --services unit=airports', /name of one service or none/],
  ['ctl pause feed --config {}', /--config does nothing with pause: it is for configure/],
  ['ctl configure feed --config {} --level debug', /--level does nothing with configure: it is for loglevel/],
  ['dead redrive mail 7 --all', /--all does nothing beside sequences/],
  ['dead redrive mail 7 --name send', /--name does nothing beside sequences/],
  ['dead redrive mail --name send --all', /--all does nothing beside --name/],
  ['logs kind=service', /kind=…: log lines are picked by site, unit and instance alone/],
  ['server --memory much', /number of megabytes above 0/],
  ['stream replay --remove again --as other', /--as does nothing with --remove/],
  ['stream replay x.ts --remove again', /leave out x\.ts/],
  ['stream replay x.ts --as again --yes', /--yes does nothing without --remove/],
])('myelin %s', async (typed, why) => {
  expect(await refusalOf(typed)).toMatch(why)
})

it('what the environment gives is not refused', async () => {
  process.env.NATS_URL = 'nats://127.0.0.1:1'
  try {
    expect(await refusalOf('up nowhere.yaml --dry-run')).toMatch(/nowhere\.yaml cannot be read/)
  } finally {
    delete process.env.NATS_URL
  }
})
