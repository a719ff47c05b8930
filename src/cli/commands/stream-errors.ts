// myelin stream errors: the input that a processor could not use, with the reason.
import type { Command } from 'commander'
import { type Bus, consume, readSpan, streamInfo } from '../../bus/internal.ts'
import { errorStream, type Rejection, readRejection } from '../../stream/index.ts'
import { aborted, type ConnectionFlags, interrupted, onBus, withConnection } from '../connection.ts'
import { hasRun, nobodyAnswers } from '../processors.ts'
import { print, printJson, table, whole } from '../text.ts'

interface Flags extends ConnectionFlags {
  limit: string
  follow?: boolean
}

const lookMs = 500
const head = ['TIME', 'CODE', 'REASON', 'SOURCE', 'PAYLOAD']

export function addStreamErrors(stream: Command): void {
  withConnection(stream.command('errors'))
    .description('what a processor could not use: as it came, with code and reason; the newest are kept')
    .argument('<processor>')
    .option('-n, --limit <count>', 'the latest so many', '20')
    .option('-f, --follow', 'and those that come, until Ctrl-C')
    .addHelpText(
      'after',
      '\nExamples:\n  myelin stream errors delays\n  myelin stream errors delays --follow\n  myelin stream errors delays -n 1 --json | jq .payload',
    )
    .action(async (processor: string, flags: Flags) => {
      const limit = whole(flags.limit, '--limit')
      const signal = interrupted()
      await onBus(flags, async (bus) => {
        const name = errorStream(processor)
        let info = await streamInfo(bus, name)
        if (!info) {
          // it is made for the first one
          if (!(await hasRun(bus, processor))) throw await nobodyAnswers(bus, processor)
          if (!flags.follow) return flags.json ? undefined : print(`${processor} has refused nothing`)
        }
        while (!info) {
          await Promise.race([new Promise((resolve) => setTimeout(resolve, lookMs)), aborted(signal)])
          if (signal.aborted) return
          info = await streamInfo(bus, name)
        }
        const { first_seq, last_seq, messages } = info.state
        const from = Math.max(first_seq, last_seq - limit + 1)
        const stored = messages === 0 ? [] : await refusals(bus, name, from, last_seq)
        if (flags.json) stored.map(forPrograms).forEach(printJson)
        else if (stored.length > 0) print(table(head, stored.map(row)))
        else if (!flags.follow) print(`${processor} has refused nothing`)
        if (!flags.follow) return
        const reader = await consume(bus, {
          stream: name,
          from: { sequence: last_seq + 1 },
          maxPending: 256,
          onMessage: (message) => {
            const refusal = readRejection(message)
            if (flags.json) printJson(forPrograms(refusal))
            else print(row(refusal).join('  '))
            reader.release()
          },
        })
        await aborted(signal)
        await reader.stop()
      })
    })
}

async function refusals(bus: Bus, stream: string, from: number, until: number): Promise<Rejection[]> {
  const found: Rejection[] = []
  for await (const message of readSpan(bus, stream, { from, until })) found.push(readRejection(message))
  return found
}

const forPrograms = ({ data, ...refusal }: Rejection) => ({ ...refusal, payload: Buffer.from(data).toString() })

const row = ({ at, code, reason, source, data }: Rejection): string[] => [
  at,
  code,
  short(reason, 80),
  `${source.stream} ${source.sequence}`,
  short(Buffer.from(data).toString(), 60),
]

function short(text: string, most: number): string {
  const line = text.replace(/\s+/g, ' ')
  return line.length > most ? `${line.slice(0, most - 1)}…` : line
}
