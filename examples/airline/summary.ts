// What a run did, counted anew from the streams themselves: whether every flight is in exactly one window is measured,
// not assumed.
import { readFile } from 'node:fs/promises'
import { askAgain, type Bus, removeStream, streamInfo } from 'myelin/bus'
import { eventStream, jobStream } from 'myelin/contract'
import type { InstanceStatus } from 'myelin/runtime'
import { checkpointStream, errorStream, readView, viewStream } from 'myelin/stream'
import { delays } from './contracts/delays.ts'

const streams = {
  flights: eventStream('flights', 'departed'),
  windows: viewStream('delays'),
  jobs: jobStream('rebooking', 'rebook'),
  rebooked: eventStream('rebooking', 'done'),
}

/** The processors: what they write and remember goes with what they read. */
const processors = ['delays', 'states', 'unusual']

/** How far an earlier run came. */
export interface Position {
  readonly flights: number
  readonly windows: number
  /** The end of the file is in the stream. */
  readonly ended: boolean
}

/** What a stream is like; a server that restarts in this moment is asked again. */
export const infoOf = (bus: Bus, stream: string, subjects?: string) =>
  askAgain(bus, `stream ${stream}`, () => streamInfo(bus, stream, subjects === undefined ? {} : { subjects }))

export async function positionOf(bus: Bus): Promise<Position> {
  const flights = await infoOf(bus, streams.flights, 'evt.flights.departed._end')
  const ended = Object.keys(flights?.state.subjects ?? {}).length > 0
  const windows = (await infoOf(bus, streams.windows))?.state.last_seq ?? 0
  return { flights: (flights?.state.last_seq ?? 0) - (ended ? 1 : 0), windows, ended }
}

/** Removes what earlier runs stored. */
export async function forgetAirline(bus: Bus): Promise<void> {
  const made = processors.flatMap((name) => [viewStream(name), checkpointStream(name), errorStream(name)])
  for (const stream of new Set([...Object.values(streams), ...made])) {
    await askAgain(bus, `stream ${stream}`, () => removeStream(bus, stream))
  }
}

export interface Summary {
  /** Flights stored by this run. */
  flights: number
  /** Rows of airport and hour written by this run. */
  windows: number
  jobs: number
  jobsWaiting: number
  jobsDead: number
  /** Flights read by the windows that are in none of them, counted over everything stored. */
  lost: number
  /** Windows that came out more than once, and flights counted more than once. */
  duplicates: number
  /** Flights stored that the windows have not read yet. */
  unread: number
  seconds: number
  flightsPerSecond: number
  /** Peak resident memory of each process. */
  peakMb: Record<string, number>
}

export async function summarize(
  bus: Bus,
  status: readonly InstanceStatus[],
  before: Position,
  seconds: number,
  serverPid: number | undefined,
): Promise<Summary> {
  const sum = (unit: string, key: string) =>
    status.reduce((total, instance) => total + (instance.unit === unit ? (instance.stats[key] ?? 0) : 0), 0)
  const now = await positionOf(bus)
  const rows = await askAgain(bus, 'the rows of the view', () => countRows(bus))
  const read = Math.min(sum('delays', 'position'), now.flights)
  const missing = read - rows.flights - sum('delays', 'open')
  return {
    flights: now.flights - before.flights,
    windows: now.windows - before.windows,
    jobs: sum('rebooking', 'jobsDone'),
    jobsWaiting: (await infoOf(bus, streams.jobs))?.state.messages ?? 0,
    jobsDead: sum('rebooking', 'jobsDead'),
    lost: Math.max(0, missing),
    duplicates: Math.max(0, -missing) + rows.repeated,
    unread: now.flights - read,
    seconds: Math.round(seconds * 100) / 100,
    flightsPerSecond: Math.round((now.flights - before.flights) / seconds),
    peakMb: {
      main: megabytes(process.resourceUsage().maxRSS * 1024),
      ...Object.fromEntries(
        status
          .filter(({ maxRssBytes }) => maxRssBytes !== undefined)
          .map(({ unit, maxRssBytes }) => [unit, megabytes(maxRssBytes!)]),
      ),
      ...(serverPid ? { 'nats-server': megabytes((await peakOf(serverPid)) ?? 0) } : {}),
    },
  }
}

const megabytes = (bytes: number) => Math.round(bytes / 1e6)

/** Every row of the view: flights in all of them, and how many windows came out again. */
async function countRows(bus: Bus): Promise<{ flights: number; repeated: number }> {
  // the rows of an airport come in the order of their hours, so its last one is all that has to be remembered
  const lastHour = new Map<string, string>()
  const counted = { flights: 0, repeated: 0 }
  if (!(await streamInfo(bus, streams.windows))) return counted
  for await (const { row } of readView(bus, delays).history({ maxPending: 5_000 })) {
    if (row.hour <= (lastHour.get(row.origin) ?? '')) counted.repeated += 1
    lastHour.set(row.origin, row.hour)
    counted.flights += row.flights
  }
  return counted
}

/** Peak resident memory of another process; Linux only. */
async function peakOf(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  const kilobytes = /^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024
}
