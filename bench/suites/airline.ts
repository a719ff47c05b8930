// The main job at full speed, as `npm start -- --speed max --once --json` runs it.
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Options, Result } from '../result.ts'

export async function run({ say }: Options): Promise<Result> {
  const store = await mkdtemp(join(tmpdir(), 'myelin-bench-'))
  say('3,000,000 flights; this takes about a minute…')
  try {
    const main = join(import.meta.dirname, '../../examples/airline/main.ts')
    const args = [
      '--max-semi-space-size=4',
      '--conditions=myelin-source',
      main,
      '--speed',
      'max',
      '--once',
      '--json',
      '--port',
      '0',
      // what the figures of earlier versions were measured with: one processor
      '--only',
      'board,airports,rebooking,delays,feed',
      '--store',
      store,
    ]
    const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, NATS_URL: '' } })
    const { peakMb, flightsPerSecond, ...numbers } = JSON.parse(stdout)
    return {
      bench: 'airline',
      figures: {
        ...numbers,
        flights_per_second: flightsPerSecond,
        ...Object.fromEntries(
          Object.entries(peakMb as Record<string, number>).map(([name, mb]) => [`${name}_peak_mb`, mb]),
        ),
      },
      ratios: {},
    }
  } finally {
    await rm(store, { recursive: true, force: true })
  }
}
