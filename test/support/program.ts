// Runs a program over events in memory, with checkpoints in between if wanted: what a processor does, without the streams.
import { Circuit, type Row, type StateRecord } from '../../src/stream/circuit.ts'
import { type End, Line, Plan, Stream } from '../../src/stream/program/index.ts'

export interface Fed {
  readonly source?: number
  readonly value: unknown
  /** When it was stored. */
  readonly storedMs?: number
  /** The end of its source instead of a value. */
  readonly end?: boolean
}

export interface RunOptions {
  readonly sources?: number
  /** Take everything down into JSON and begin anew from it after every so many events. */
  readonly saveEvery?: number
  readonly maxKeys?: number
  readonly keysInMemory?: number
}

export interface Ran {
  readonly rows: Row[]
  readonly bad: unknown[]
  readonly effects: unknown[]
  readonly late: number
  readonly open: number
  readonly keys: number
  readonly shape: string
}

// biome-ignore lint/suspicious/noExplicitAny: tests know what they feed
type AnyStream = Stream<any>

export function runProgram(
  describe: (...inputs: AnyStream[]) => End | readonly End[],
  events: readonly Fed[],
  { sources = 1, saveEvery = 0, maxKeys, keysInMemory }: RunOptions = {},
): Ran {
  const plan = new Plan()
  const inputs = Array.from({ length: sources }, (_, i) => new Stream(Line.root(plan, new Set([i]), i)))
  const ends = [describe(...inputs)].flat()
  const ran = { rows: [] as Row[], bad: [] as unknown[], effects: [] as unknown[] }
  const build = () => {
    const circuit = new Circuit({
      startEffect: (_effect, value) => ran.effects.push(value),
      poison: (error) => ran.bad.push(error),
      ...(maxKeys === undefined ? {} : { maxKeys }),
      ...(keysInMemory === undefined ? {} : { keysInMemory }),
    })
    for (const end of ends) end.connect(circuit)
    return circuit
  }
  let circuit = build()
  let log: string[] = []
  events.forEach(({ source = 0, value, storedMs = 0, end }, i) => {
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
      else circuit.feed(source, value, storedMs)
    } catch (error) {
      ran.bad.push(error)
    }
    ran.rows.push(...circuit.rows)
    circuit.rows = []
  })
  const { late, open, keys, shape } = circuit
  return { ...ran, late, open, keys, shape }
}
