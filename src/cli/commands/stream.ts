// myelin stream: looking into processors, at what they could not use, and through their eyes at the past.
import type { Command } from 'commander'
import { addStreamErrors } from './stream-errors.ts'
import { addStreamInspect } from './stream-inspect.ts'
import { addStreamReplay } from './stream-replay.ts'

export function addStream(program: Command): void {
  const stream = program
    .command('stream')
    .description('stream processors: what they do, what they refused, time travel')
  for (const add of [addStreamInspect, addStreamErrors, addStreamReplay]) add(stream)
}
