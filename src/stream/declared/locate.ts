// Finding the stream of something that is named, without the contract or the program that made it.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Bus, failure, now, streamInfo } from '../../bus/internal.ts'
import { eventStream } from '../../contract/internal.ts'
import { viewStream, viewSubject } from '../view.ts'

/** What is looked for: one of event, view, or stream with subject. */
export interface Named {
  readonly event?: string | undefined
  readonly view?: string | undefined
  readonly stream?: string | undefined
  readonly subject?: string | undefined
}

export interface Located {
  readonly stream: string
  readonly subject: string
}

/** What is started at the same time may make it. */
const patienceMs = 10_000

/**
 * The stream of an event (`flights.departed`), a view, or a stream of that name, and the subject of its messages.
 * @throws MyelinError STREAM_NOT_FOUND when it does not come into being within 10 s
 */
export async function locate(bus: Bus, named: Named, where: string): Promise<Located> {
  if (named.event !== undefined) {
    const [contract = '', event = ''] = named.event.split('.')
    const stream = eventStream(contract, event)
    const subjects = await subjectsOf(bus, stream, `${where}: event ${named.event}`)
    // whether the event has a key is for its stream to say
    const bare = `evt.${contract}.${event}`
    const subject = subjects.find((one) => one === bare || one.startsWith(`${bare}.`))
    if (subject) return { stream, subject }
    throw failure('STREAM_NOT_FOUND', `${where}: ${stream} does not hold ${bare}, only ${subjects.join(', ')}`)
  }
  const { view } = named
  if (view !== undefined) {
    await subjectsOf(bus, viewStream(view), `${where}: view ${view}`)
    return { stream: viewStream(view), subject: viewSubject(view, '*') }
  }
  await subjectsOf(bus, named.stream!, where)
  return { stream: named.stream!, subject: named.subject! }
}

async function subjectsOf(bus: Bus, stream: string, what: string): Promise<readonly string[]> {
  for (const end = now() + patienceMs; ; await sleep(100)) {
    const info = await streamInfo(bus, stream)
    if (info) return info.config.subjects ?? []
    if (now() > end) {
      const patience = `${patienceMs / 1_000} s`
      throw failure('STREAM_NOT_FOUND', `${what}: there is no stream ${stream}, and none was made within ${patience}`)
    }
  }
}
