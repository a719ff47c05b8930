// Runs a program over events in memory, with checkpoints in between if wanted: what a processor does, without the streams.
import { Dataflow, type Row, type StateRecord } from './dataflow.ts'
import type { Sink } from './program/index.ts'

/** An event of a source, or the source's end. */
export interface Fed {
  readonly source?: number
  readonly value?: unknown
  /** Instead of a value: how to read it; what that throws counts as an event that cannot be used. */
  readonly read?: () => unknown
  /** When it was stored. */
  readonly storedMs?: number
  /** The end of its source instead of a value. */
  readonly end?: boolean
}

/** How it is run. */
export interface RunOptions {
  /** Take everything down into JSON and begin anew from it after every so many events. */
  readonly saveEvery?: number
  readonly maxKeys?: number
  readonly keysInMemory?: number
}

/** What came of it. */
export interface Ran {
  readonly rows: Row[]
  readonly rejected: unknown[]
  readonly effects: { readonly effect: number; readonly value: unknown }[]
  readonly late: number
  readonly open: number
  readonly keys: number
  readonly shape: string
}

export function runDataflow(
  sinks: readonly Sink[],
  events: readonly Fed[],
  { saveEvery = 0, maxKeys, keysInMemory }: RunOptions = {},
): Ran {
  const ran = { rows: [] as Row[], rejected: [] as unknown[], effects: [] as { effect: number; value: unknown }[] }
  const build = () => {
    const dataflow = new Dataflow({
      startEffect: (effect, value) => ran.effects.push({ effect, value }),
      reject: (error) => ran.rejected.push(error),
      ...(maxKeys === undefined ? {} : { maxKeys }),
      ...(keysInMemory === undefined ? {} : { keysInMemory }),
    })
    for (const sink of sinks) sink.connect(dataflow)
    return dataflow
  }
  let dataflow = build()
  let log: string[] = []
  events.forEach(({ source = 0, value, read, storedMs = 0, end }, i) => {
    if (saveEvery > 0 && i % saveEvery === 0) {
      // now and then a new base, changes in between
      const everything = log.length === 0 || i % (5 * saveEvery) === 0
      if (everything) log = []
      for (const record of dataflow.save(everything)) log.push(JSON.stringify(record))
      dataflow = build()
      for (const text of log) dataflow.restore(JSON.parse(text) as [number, ...StateRecord])
      dataflow.restored()
    }
    try {
      if (end) dataflow.end(source)
      else dataflow.feed(source, read ? read() : value, storedMs)
    } catch (error) {
      ran.rejected.push(error)
    }
    ran.rows.push(...dataflow.rows)
    dataflow.rows = []
  })
  const { late, open, keys, shape } = dataflow
  return { ...ran, late, open, keys, shape }
}
