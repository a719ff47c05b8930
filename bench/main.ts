// npm run bench -- <name> [--json]: one benchmark, side by side with its peers in the same run.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { type Options, type Result, show } from './result.ts'

const suites: Record<
  string,
  { about: string; load: () => Promise<{ run(options: Options): Promise<Result> }>; peers?: true }
> = {
  rpc: {
    about: 'typed calls against a bare reply map, nc.request, Moleculer and NestJS',
    load: () => import('./suites/rpc.ts'),
    peers: true,
  },
  events: { about: 'publish/subscribe against the client library', load: () => import('./suites/events.ts') },
  jobs: { about: 'a work queue against a bare explicit-ack consumer', load: () => import('./suites/jobs.ts') },
  heartbeat: {
    about: '5,000 instances and a watcher: cost, detection, false alarms; and Moleculer',
    load: () => import('./suites/heartbeat.ts'),
    peers: true,
  },
  stream: {
    about: 'hourly windows over 3,000,000 flights against the same sums by hand; a million keys',
    load: () => import('./suites/stream.ts'),
  },
  sse: {
    about: '5,000 clients and 100 events a second against better-sse and a bare res.write loop',
    load: () => import('./suites/sse.ts'),
    peers: true,
  },
  control: { about: 'pausing 1,000 instances against a bare gather', load: () => import('./suites/control.ts') },
  airline: {
    about: 'the whole main job at full speed: seconds and peak memory',
    load: () => import('./suites/airline.ts'),
  },
}

function atLeast(least: number): (typed: string) => number {
  return (typed) => {
    const value = Number(typed)
    if (!(value >= least)) throw new InvalidArgumentError(`expected a number from ${least}`)
    return value
  }
}

const program = new Command('npm run bench --')
  .argument('[name]', `one of ${Object.keys(suites).join(', ')}`)
  .option('--json', 'one JSON object as the last line')
  .option('--rounds <count>', 'rounds of each subject; the median counts', atLeast(1), 5)
  .option('--seconds <seconds>', 'length of a round', atLeast(0.1), 2)
  .addHelpText(
    'after',
    `\n${Object.entries(suites)
      .map(([name, { about }]) => `  ${name.padEnd(10)}${about}`)
      .join('\n')}`,
  )
  .parse()

const [name] = program.args
const suite = name === undefined ? undefined : suites[name]
if (!suite) {
  program.outputHelp()
  process.exit(name === undefined || name === 'list' ? 0 : 2)
}
const { json, rounds, seconds } = program.opts<{ json?: boolean; rounds: number; seconds: number }>()
if (suite.peers && !existsSync(join(import.meta.dirname, 'node_modules'))) {
  process.stderr.write('installing what is compared with (once)…\n')
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) process.exit(1)
}
const result = await (await suite.load()).run({
  rounds,
  seconds,
  say: (line) => {
    if (!json) process.stderr.write(`${line}\n`)
  },
})
process.stdout.write(json ? `${JSON.stringify(result)}\n` : `${show(result)}\n`)
process.exit(0)
