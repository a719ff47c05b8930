// myelin tail: what goes by on a subject, an event, a view or any stream, a line each.
import type { Command } from 'commander'
import {
  type Bus,
  consume,
  eventAttributes,
  failure,
  type HeaderReader,
  parseTime,
  payloadText,
  readHeaders,
  type StartPosition,
  streamInfo,
} from '../../bus/internal.ts'
import { eventStream } from '../../contract/internal.ts'
import { viewStream } from '../../stream/index.ts'
import { aborted, type ConnectionFlags, interrupted, onBus, sayWaiting, withConnection } from '../connection.ts'
import { print, printJson, UsageError, whole } from '../text.ts'

interface Flags extends ConnectionFlags {
  from?: string
  key?: string
  limit?: string
  headers?: boolean
}

export function addTail(program: Command): void {
  withConnection(program.command('tail'))
    .description('print messages as they come, or from an earlier position of what is stored')
    .argument(
      '<what>',
      "an event (airports.closed), a view (view delays is 'view.delays'), a stream, or a subject with wildcards",
    )
    .option('--from <position>', "'start', 'new', a sequence, or a time (2026-11-01T00:00Z); stored messages only")
    .option('--key <key>', 'only of this key')
    .option('-n, --limit <count>', 'stop after so many')
    .option('--headers', 'print headers as well')
    .addHelpText(
      'after',
      `
Examples:
  myelin tail flights.departed --from start --limit 5
  myelin tail view.delays --key ATL
  myelin tail 'evt.>'`,
    )
    .action(async (what: string, flags: Flags) => {
      const limit = flags.limit === undefined ? Number.POSITIVE_INFINITY : whole(flags.limit, '--limit')
      const from = position(flags.from)
      const signal = interrupted()
      await onBus(flags, async (bus) => {
        const source = await sourceOf(bus, what, flags.key)
        const done = Promise.withResolvers<void>()
        void aborted(signal).then(() => done.resolve())
        let shown = 0
        const waiting = sayWaiting(bus, source.subject ?? source.stream ?? what)
        const show = (subject: string, data: Uint8Array, headers: HeaderReader, sequence: number | undefined) => {
          if (shown >= limit) return
          shown += 1
          waiting.came()
          const { attributes, text } = readable(headers, data)
          if (flags.json) {
            printJson({
              subject,
              ...(sequence === undefined ? {} : { sequence }),
              ...(attributes ? { event: { id: attributes.id, type: attributes.type, time: attributes.time } } : {}),
              ...(flags.headers ? { headers: headers.all() } : {}),
              data: decoded(text),
            })
          } else {
            if (flags.headers) for (const line of headerTexts(headers, attributes)) print(`# ${line}`)
            print(`${sequence === undefined ? '' : `${sequence} `}${subject} ${text}`)
          }
          if (shown >= limit) done.resolve()
        }
        if (source.stream) {
          const reader = await consume(bus, {
            stream: source.stream,
            ...(source.subject ? { subjects: [source.subject] } : {}),
            from: from ?? 'new',
            maxPending: 256,
            onMessage: (message) => {
              show(message.subject, message.data, message.headers, message.sequence)
              reader.release()
            },
            onError: (error) => done.reject(error),
            onGap: ({ stream, reason, next }) =>
              process.stderr.write(`stream ${stream} was ${reason} meanwhile; it goes on at ${next}\n`),
          })
          await done.promise
          waiting.stop()
          await reader.stop()
          return
        }
        if (from !== undefined && from !== 'new') {
          throw failure('INVALID_OPTION', `--from: "${what}" is not stored, there is only what comes from now on`)
        }
        const subscription = bus.subscribe(source.subject!, (message) => {
          show(message.subject, message.data, readHeaders(message), undefined)
        })
        await done.promise
        waiting.stop()
        subscription.unsubscribe()
      })
    })
}

/** An event's stream where it has one, else its subject. */
async function sourceOf(
  bus: Bus,
  what: string,
  key: string | undefined,
): Promise<{ stream?: string; subject?: string }> {
  const [first = '', second = '', ...rest] = what.split('.')
  const named = rest.length === 0 && second !== '' && !/[*>]/.test(what)
  if (named && first === 'view') {
    const stream = viewStream(second)
    if (!(await streamInfo(bus, stream))) throw failure('STREAM_NOT_FOUND', `there is no view "${second}"`)
    return { stream, subject: `view.${second}.${key ?? '*'}` }
  }
  if (named) {
    const stream = eventStream(first, second)
    const info = await streamInfo(bus, stream).catch(() => undefined)
    if (info) return { stream, ...(key === undefined ? {} : { subject: `evt.${what}.${key}` }) }
    return { subject: key === undefined ? `evt.${what}.>` : `evt.${what}.${key}`, ...(await bare(bus, first, second)) }
  }
  if (key !== undefined) {
    throw new UsageError(
      `--key: it picks from an event (airports.closed) or a view (view.delays), and "${what}" is neither; leave it out, or follow the subject that ends with the key`,
    )
  }
  if (/^[A-Z][A-Z0-9_a-z=-]*$/.test(what) && (await streamInfo(bus, what).catch(() => undefined)))
    return { stream: what }
  return { subject: what }
}

/** Events without a key have nothing after their name. */
async function bare(bus: Bus, service: string, event: string): Promise<{ subject?: string }> {
  const { discoverContract } = await import('../../service/index.ts')
  const contract = await discoverContract(bus, service).catch(() => undefined)
  const definition = contract?.definition.events?.[event]
  return definition && definition.key === undefined ? { subject: `evt.${service}.${event}` } : {}
}

function position(typed: string | undefined): StartPosition | undefined {
  if (typed === undefined) return undefined
  if (typed === 'start' || typed === 'new') return typed
  if (/^\d+$/.test(typed)) return { sequence: Number(typed) }
  const timeMs = parseTime(typed)
  if (timeMs === undefined) {
    throw new UsageError(
      `--from: expected start, new, a sequence or a time like 2026-11-01 or 2026-11-01T12:00Z, got "${typed}"`,
    )
  }
  return { timeMs }
}

interface Readable {
  readonly attributes: Readonly<Record<string, string>> | undefined
  readonly text: string
}

/** What a message holds: of an event in structured mode its data, as of one in binary mode. What is no event is told as it is. */
function readable(headers: HeaderReader, data: Uint8Array): Readable {
  try {
    return { attributes: eventAttributes(headers, data), text: textOf(payloadText(headers, data)) }
  } catch {
    return { attributes: undefined, text: textOf(data) }
  }
}

const textOf = (data: Uint8Array | string) => (typeof data === 'string' ? data : Buffer.from(data).toString())

/** The headers, and what an event in structured mode has instead. */
function headerTexts(headers: HeaderReader, attributes: Readable['attributes'] = {}): string[] {
  const all = headers.all()
  const had = new Set(Object.keys(all).map((name) => name.toLowerCase()))
  const instead = Object.entries(attributes).map(([name, value]) => [`ce-${name}`, value] as const)
  return [...Object.entries(all), ...instead.filter(([name]) => !had.has(name))].map(
    ([name, value]) => `${name}: ${value}`,
  )
}

function decoded(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
