// Windows that are the same for all keys: a pane holds all keys' states of one window. It closes when the watermark
// passes its end: its rows go out, in the order of their keys. Until `lateness` has passed as well, a late event changes
// the window and its row goes out again; after that it goes to the side.
import { failure } from '../../bus/index.ts'
import { subjectToken } from '../../contract/index.ts'
import type { Circuit, Operator, StateRecord } from '../circuit.ts'
import type { Aggregation, States } from './aggregation.ts'
import type { AlignedShape } from './shapes.ts'
import { Spill } from './spill.ts'
import type { WindowOperator, WindowPlan } from './window-operator.ts'

/** What one key has in one window. */
interface Cell {
  readonly states: States
  /** Changed since the last checkpoint. */
  changed: boolean
  /** Changed since its last row. */
  untold: boolean
}

interface Pane {
  readonly startMs: number
  readonly endMs: number
  /** Those in memory. */
  readonly cells: Map<string, Cell>
  /** How many more are spilled. */
  spilled: number
  readonly changed: string[]
  /** Its final rows have gone out; it is kept for late events. */
  closed: boolean
  events: number
  /** When its next early rows are due. */
  earlyMs: number
  /** Its own record is not in the last checkpoint. */
  unsaved: boolean
}

// records: [startMs] it is gone; [startMs, closed, events, earlyMs]; [startMs, key, states]
const time = (saved: unknown) => (saved === null ? Number.POSITIVE_INFINITY : (saved as number))

export class Panes<T> implements Operator, WindowOperator<T> {
  readonly #circuit: Circuit
  readonly #shape: AlignedShape
  readonly #plan: WindowPlan<T>
  readonly #aggregation: Aggregation<T>
  readonly #earlyMs: number
  readonly #panes = new Map<number, Pane>()
  #gone: number[] = []
  #spill: Spill | undefined
  /** Cells in memory, of all panes. */
  #inMemory = 0
  #last: Pane | undefined
  keys = 0
  nextMs = Number.POSITIVE_INFINITY

  constructor(circuit: Circuit, shape: AlignedShape, plan: WindowPlan<T>) {
    this.#circuit = circuit
    this.#shape = shape
    this.#plan = plan
    this.#aggregation = plan.aggregation
    this.#earlyMs = typeof plan.emission === 'object' ? plan.emission.earlyMs : Number.POSITIVE_INFINITY
  }

  /** Hot path: about 0.3 µs, most of it the aggregates'. */
  push(key: string, value: T, timeMs: number): void {
    this.#aggregation.check(value)
    const shape = this.#shape
    let startMs = shape.startOf(timeMs)
    if (!shape.overlapping) {
      const pane = this.#last?.startMs === startMs ? this.#last : this.#pane(startMs)
      if (pane) this.#add(pane, key, value, timeMs)
      else this.#tooLate(value, timeMs)
      return
    }
    let taken = false
    for (; shape.endOf(startMs) > timeMs; startMs = shape.before(startMs)) {
      const pane = this.#pane(startMs)
      if (!pane) continue
      this.#add(pane, key, value, timeMs)
      taken = true
    }
    if (!taken) this.#tooLate(value, timeMs)
  }

  #tooLate(value: T, timeMs: number): void {
    this.#circuit.late += 1
    this.#plan.late?.(value, timeMs)
  }

  #add(pane: Pane, key: string, value: T, timeMs: number): void {
    let cell = pane.cells.get(key) ?? (pane.spilled > 0 ? this.#back(pane, key) : undefined)
    if (cell) this.#aggregation.add(cell.states, value, timeMs)
    else {
      // an event that is refused leaves no key behind
      const states = this.#aggregation.init()
      this.#aggregation.add(states, value, timeMs)
      cell = this.#cell(pane, key, states)
    }
    pane.events += 1
    if (!cell.changed) {
      cell.changed = true
      pane.changed.push(key)
    }
    if (pane.closed) this.#tell(pane, key, cell, true)
    else if (this.#plan.emission === 'update') this.#tell(pane, key, cell, false)
    else cell.untold = true
  }

  #cell(pane: Pane, key: string, states: States): Cell {
    // once per key and window, not once per event
    subjectToken(key, 'keyBy')
    this.#circuit.host.ownKey?.(key)
    if (this.keys >= this.#circuit.maxKeys) {
      throw failure('TOO_MANY_KEYS', `a window has ${this.keys} keys, which is the limit; "${key}" is left out`)
    }
    this.#makeRoom()
    const cell: Cell = { states, changed: false, untold: false }
    pane.cells.set(key, cell)
    this.keys += 1
    this.#inMemory += 1
    return cell
  }

  /** A spilled cell comes back with the next event of its key. */
  #back(pane: Pane, key: string): Cell | undefined {
    const found = this.#spill!.take(pane.startMs, key)
    if (!found) return undefined
    const cell = { states: this.#aggregation.load(found.states), changed: false, untold: found.untold }
    pane.spilled -= 1
    this.#makeRoom()
    pane.cells.set(key, cell)
    this.#inMemory += 1
    return cell
  }

  /** Spills a tenth of what may be in memory, the cells that came first; not those that no checkpoint has yet. */
  #makeRoom(): void {
    if (this.#inMemory < this.#circuit.keysInMemory) return
    let wanted = Math.ceil(this.#circuit.keysInMemory / 10)
    // when too little is in a checkpoint yet, asking again at each new key would cost more than it brings
    if ((this.#inMemory - this.#circuit.keysInMemory) % wanted !== 0) return
    this.#spill ??= new Spill()
    this.#spill.together(() => {
      for (const pane of [...this.#panes.values()].sort((a, b) => b.cells.size - a.cells.size)) {
        for (const [key, cell] of pane.cells) {
          if (wanted === 0) return
          if (cell.changed) continue
          this.#spillCell(pane, key, cell)
          wanted -= 1
        }
      }
    })
  }

  #spillCell(pane: Pane, key: string, cell: Cell): void {
    this.#spill!.put(pane.startMs, key, JSON.stringify(this.#aggregation.save(cell.states)), cell.untold)
    pane.cells.delete(key)
    pane.spilled += 1
    this.#inMemory -= 1
  }

  /** A pane's cells in the order of their keys, which a replay finds again. */
  *#sorted(pane: Pane): Generator<readonly [key: string, cell: Cell]> {
    if (pane.spilled > 0) {
      yield* this.#sortedSpilled(pane)
      return
    }
    for (const key of [...pane.cells.keys()].sort()) yield [key, pane.cells.get(key)!]
  }

  *#sortedSpilled(pane: Pane): Generator<readonly [key: string, cell: Cell]> {
    const memory = [...pane.cells.keys()].sort()
    let next = 0
    for (const { key, states, untold } of this.#spill!.sorted(pane.startMs)) {
      while (next < memory.length && memory[next]! < key) {
        yield [memory[next]!, pane.cells.get(memory[next]!)!]
        next += 1
      }
      yield [key, { states: this.#aggregation.load(states), changed: true, untold }]
    }
    for (; next < memory.length; next++) yield [memory[next]!, pane.cells.get(memory[next]!)!]
  }

  /** The pane of a window, or undefined when it is closed for good. */
  #pane(startMs: number): Pane | undefined {
    let pane = this.#panes.get(startMs)
    if (!pane) {
      const endMs = this.#shape.endOf(startMs)
      const watermarkMs = this.#circuit.watermarkOf(this.#plan.order)
      if (endMs + this.#plan.latenessMs <= watermarkMs) return undefined
      pane = {
        startMs,
        endMs,
        cells: new Map(),
        spilled: 0,
        changed: [],
        closed: endMs <= watermarkMs,
        events: 0,
        earlyMs: startMs + this.#earlyMs,
        unsaved: true,
      }
      this.#panes.set(startMs, pane)
      this.#wake(pane)
      this.#circuit.wakeAt(this.nextMs, this.#plan.order)
    }
    this.#last = pane
    return pane
  }

  #wake(pane: Pane): void {
    const at = pane.closed ? pane.endMs + this.#plan.latenessMs : Math.min(pane.endMs, pane.earlyMs)
    if (at < this.nextMs) this.nextMs = at
  }

  /** Events in windows whose rows have not gone out yet. */
  get open(): number {
    let events = 0
    for (const pane of this.#panes.values()) if (!pane.closed) events += pane.events
    return events
  }

  advance(watermarkMs: number): void {
    this.nextMs = Number.POSITIVE_INFINITY
    const panes = [...this.#panes.values()].sort((a, b) => a.startMs - b.startMs)
    for (const pane of panes) {
      if (!pane.closed && pane.earlyMs <= watermarkMs && pane.endMs > watermarkMs) this.#early(pane, watermarkMs)
      if (!pane.closed && pane.endMs <= watermarkMs) {
        pane.closed = true
        pane.unsaved = true
        for (const [key, cell] of this.#sorted(pane)) this.#tell(pane, key, cell, true)
      }
      if (pane.endMs + this.#plan.latenessMs <= watermarkMs) {
        this.#panes.delete(pane.startMs)
        this.keys -= pane.cells.size + pane.spilled
        this.#inMemory -= pane.cells.size
        if (pane.spilled > 0) this.#spill!.drop(pane.startMs)
        this.#gone.push(pane.startMs)
        if (this.#last === pane) this.#last = undefined
      } else this.#wake(pane)
    }
  }

  #early(pane: Pane, watermarkMs: number): void {
    const due = [...this.#sorted(pane)].filter(([, { untold }]) => untold)
    // what was told has to be known: spilled ones come back, as if an event had come
    for (const [key] of due) this.#tell(pane, key, pane.cells.get(key) ?? this.#back(pane, key)!, false)
    const passed = Math.floor((watermarkMs - pane.startMs) / this.#earlyMs)
    pane.earlyMs = pane.startMs + (passed + 1) * this.#earlyMs
    pane.unsaved = true
  }

  #tell(pane: Pane, key: string, cell: Cell, final: boolean): void {
    // that its row was told has to be in the checkpoint as well, or a replay would tell it again
    if (cell.untold && !cell.changed) {
      cell.changed = true
      pane.changed.push(key)
    }
    cell.untold = false
    this.#plan.tell(key, pane.startMs, pane.endMs, cell.states, final)
  }

  *save(everything: boolean): Generator<StateRecord> {
    if (!everything) for (const startMs of this.#gone) yield [startMs]
    this.#gone = []
    for (const pane of this.#panes.values()) {
      const keys = everything ? pane.cells.keys() : pane.changed
      if (everything || pane.unsaved || pane.changed.length > 0) {
        yield [pane.startMs, pane.closed, pane.events, Number.isFinite(pane.earlyMs) ? pane.earlyMs : null]
      }
      for (const key of keys) {
        const cell = pane.cells.get(key)!
        cell.changed = false
        yield [pane.startMs, key, this.#aggregation.save(cell.states), ...(cell.untold ? [1] : [])]
      }
      if (everything && pane.spilled > 0) {
        for (const { key, states, untold } of this.#spill!.sorted(pane.startMs)) {
          yield [pane.startMs, key, states, ...(untold ? [1] : [])]
        }
      }
      pane.changed.length = 0
      pane.unsaved = false
    }
  }

  restore([start, what, ...rest]: StateRecord): void {
    const startMs = start as number
    const known = this.#panes.get(startMs)
    if (what === undefined) {
      this.keys -= known ? known.cells.size + known.spilled : 0
      this.#inMemory -= known?.cells.size ?? 0
      if (known && known.spilled > 0) this.#spill!.drop(startMs)
      this.#panes.delete(startMs)
    } else if (typeof what === 'boolean') {
      const [events, earlyMs] = rest
      const pane = known ?? {
        startMs,
        endMs: this.#shape.endOf(startMs),
        cells: new Map(),
        spilled: 0,
        changed: [],
        closed: false,
        events: 0,
        earlyMs: 0,
        unsaved: false,
      }
      pane.closed = what
      pane.events = events as number
      pane.earlyMs = time(earlyMs)
      this.#panes.set(startMs, pane)
    } else {
      const [states, untold] = rest
      const key = what as string
      const { cells, spilled } = known!
      if (!cells.has(key) && !(spilled > 0 && this.#back(known!, key))) {
        this.keys += 1
        this.#inMemory += 1
      }
      const cell = { states: this.#aggregation.load(states as unknown[]), changed: false, untold: untold === 1 }
      cells.set(key, cell)
      this.#makeRoom()
    }
    this.nextMs = Number.POSITIVE_INFINITY
  }

  restored(): void {
    this.nextMs = Number.POSITIVE_INFINITY
    for (const pane of this.#panes.values()) this.#wake(pane)
  }
}
