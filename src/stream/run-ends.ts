// Runs a program over events in memory, with checkpoints in between if wanted: what a processor does, without the streams.
import { Circuit, type Row, type StateRecord } from './circuit.ts'
import type { End } from './program/index.ts'

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
  readonly bad: unknown[]
  readonly effects: { readonly effect: number; readonly value: unknown }[]
  readonly late: number
  readonly open: number
  readonly keys: number
  readonly shape: string
}

export function runEnds(
  ends: readonly End[],
  events: readonly Fed[],
  { saveEvery = 0, maxKeys, keysInMemory }: RunOptions = {},
): Ran {
  const ran = { rows: [] as Row[], bad: [] as unknown[], effects: [] as { effect: number; value: unknown }[] }
  const build = () => {
    const circuit = new Circuit({
      startEffect: (effect, value) => ran.effects.push({ effect, value }),
      poison: (error) => ran.bad.push(error),
      ...(maxKeys === undefined ? {} : { maxKeys }),
      ...(keysInMemory === undefined ? {} : { keysInMemory }),
    })
    for (const end of ends) end.connect(circuit)
    return circuit
  }
  let circuit = build()
  let log: string[] = []
  events.forEach(({ source = 0, value, read, storedMs = 0, end }, i) => {
    if (saveEvery > 0 && i % saveEvery === 0) {
      // now and then a new base, changes in between
      const everything = log.length === 0 || i % (5 * saveEvery) === 0
      if (everything) log = []
      for (const record of circuit.save(everything)) log.push(JSON.stringify(record))
      circuit = build()
      for (const text of log) circuit.restore(JSON.parse(text) as [number, ...StateRecord])
      circuit.restored()
    }
    try {
      if (end) circuit.end(source)
      else circuit.feed(source, read ? read() : value, storedMs)
    } catch (error) {
      ran.bad.push(error)
    }
    ran.rows.push(...circuit.rows)
    circuit.rows = []
  })
  const { late, open, keys, shape } = circuit
  return { ...ran, late, open, keys, shape }
}
