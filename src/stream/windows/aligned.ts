// Windows that are the same for all keys: a window holds all keys' states of one window. It closes when the watermark
// passes its end: its rows go out, in the order of their keys. Until `lateness` has passed as well, a late event changes
// the window and its row goes out again; after that it goes to the side.
import { failure } from '../../bus/internal.ts'
import { subjectToken } from '../../contract/internal.ts'
import type { Dataflow, Operator, StateRecord } from '../dataflow.ts'
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
  pending: boolean
}

interface Window {
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

export class AlignedWindows<T> implements Operator, WindowOperator<T> {
  readonly #dataflow: Dataflow
  readonly #shape: AlignedShape
  readonly #plan: WindowPlan<T>
  readonly #aggregation: Aggregation<T>
  readonly #earlyMs: number
  readonly #windows = new Map<number, Window>()
  #gone: number[] = []
  #spill: Spill | undefined
  /** Cells in memory, of all windows. */
  #inMemory = 0
  #last: Window | undefined
  keys = 0
  nextMs = Number.POSITIVE_INFINITY

  constructor(dataflow: Dataflow, shape: AlignedShape, plan: WindowPlan<T>) {
    this.#dataflow = dataflow
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
      const window = this.#last?.startMs === startMs ? this.#last : this.#window(startMs)
      if (window) this.#add(window, key, value, timeMs)
      else this.#tooLate(value, timeMs)
      return
    }
    let taken = false
    for (; shape.endOf(startMs) > timeMs; startMs = shape.before(startMs)) {
      const window = this.#window(startMs)
      if (!window) continue
      this.#add(window, key, value, timeMs)
      taken = true
    }
    if (!taken) this.#tooLate(value, timeMs)
  }

  #tooLate(value: T, timeMs: number): void {
    this.#dataflow.late += 1
    this.#plan.late?.(value, timeMs)
  }

  #add(window: Window, key: string, value: T, timeMs: number): void {
    let cell = window.cells.get(key) ?? (window.spilled > 0 ? this.#back(window, key) : undefined)
    if (cell) this.#aggregation.add(cell.states, value, timeMs)
    else {
      // an event that is refused leaves no key behind
      const states = this.#aggregation.init()
      this.#aggregation.add(states, value, timeMs)
      cell = this.#cell(window, key, states)
    }
    window.events += 1
    if (!cell.changed) {
      cell.changed = true
      window.changed.push(key)
    }
    if (window.closed) this.#emit(window, key, cell, true)
    else if (this.#plan.emission === 'update') this.#emit(window, key, cell, false)
    else cell.pending = true
  }

  #cell(window: Window, key: string, states: States): Cell {
    // once per key and window, not once per event
    subjectToken(key, 'keyBy')
    this.#dataflow.host.ownKey?.(key)
    if (this.keys >= this.#dataflow.maxKeys) {
      throw failure('TOO_MANY_KEYS', `a window has ${this.keys} keys, which is the limit; "${key}" is left out`)
    }
    this.#makeRoom()
    const cell: Cell = { states, changed: false, pending: false }
    window.cells.set(key, cell)
    this.keys += 1
    this.#inMemory += 1
    return cell
  }

  /** A spilled cell comes back with the next event of its key. */
  #back(window: Window, key: string): Cell | undefined {
    const found = this.#spill!.take(window.startMs, key)
    if (!found) return undefined
    const cell = { states: this.#aggregation.load(found.states), changed: false, pending: found.pending }
    window.spilled -= 1
    this.#makeRoom()
    window.cells.set(key, cell)
    this.#inMemory += 1
    return cell
  }

  /** Spills a tenth of what may be in memory, the cells that came first; not those that no checkpoint has yet. */
  #makeRoom(): void {
    if (this.#inMemory < this.#dataflow.keysInMemory) return
    let wanted = Math.ceil(this.#dataflow.keysInMemory / 10)
    // when too little is in a checkpoint yet, asking again at each new key would cost more than it brings
    if ((this.#inMemory - this.#dataflow.keysInMemory) % wanted !== 0) return
    this.#spill ??= new Spill()
    this.#spill.together(() => {
      for (const window of [...this.#windows.values()].sort((a, b) => b.cells.size - a.cells.size)) {
        for (const [key, cell] of window.cells) {
          if (wanted === 0) return
          if (cell.changed) continue
          this.#spillCell(window, key, cell)
          wanted -= 1
        }
      }
    })
  }

  #spillCell(window: Window, key: string, cell: Cell): void {
    this.#spill!.put(window.startMs, key, JSON.stringify(this.#aggregation.save(cell.states)), cell.pending)
    window.cells.delete(key)
    window.spilled += 1
    this.#inMemory -= 1
  }

  /** A window's cells in the order of their keys, which a replay finds again. */
  *#sorted(window: Window): Generator<readonly [key: string, cell: Cell]> {
    if (window.spilled > 0) {
      yield* this.#sortedSpilled(window)
      return
    }
    for (const key of [...window.cells.keys()].sort()) yield [key, window.cells.get(key)!]
  }

  *#sortedSpilled(window: Window): Generator<readonly [key: string, cell: Cell]> {
    const memory = [...window.cells.keys()].sort()
    let next = 0
    for (const { key, states, pending } of this.#spill!.sorted(window.startMs)) {
      while (next < memory.length && memory[next]! < key) {
        yield [memory[next]!, window.cells.get(memory[next]!)!]
        next += 1
      }
      yield [key, { states: this.#aggregation.load(states), changed: true, pending }]
    }
    for (; next < memory.length; next++) yield [memory[next]!, window.cells.get(memory[next]!)!]
  }

  /** The window of a window, or undefined when it is closed for good. */
  #window(startMs: number): Window | undefined {
    let window = this.#windows.get(startMs)
    if (!window) {
      const endMs = this.#shape.endOf(startMs)
      const watermarkMs = this.#dataflow.watermarkOf(this.#plan.order)
      if (endMs + this.#plan.latenessMs <= watermarkMs) return undefined
      window = {
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
      this.#windows.set(startMs, window)
      this.#wake(window)
      this.#dataflow.wakeAt(this.nextMs, this.#plan.order)
    }
    this.#last = window
    return window
  }

  #wake(window: Window): void {
    const at = window.closed ? window.endMs + this.#plan.latenessMs : Math.min(window.endMs, window.earlyMs)
    if (at < this.nextMs) this.nextMs = at
  }

  /** Events in windows whose rows have not gone out yet. */
  get open(): number {
    let events = 0
    for (const window of this.#windows.values()) if (!window.closed) events += window.events
    return events
  }

  advance(watermarkMs: number): void {
    this.nextMs = Number.POSITIVE_INFINITY
    const windows = [...this.#windows.values()].sort((a, b) => a.startMs - b.startMs)
    for (const window of windows) {
      if (!window.closed && window.earlyMs <= watermarkMs && window.endMs > watermarkMs)
        this.#early(window, watermarkMs)
      if (!window.closed && window.endMs <= watermarkMs) {
        window.closed = true
        window.unsaved = true
        for (const [key, cell] of this.#sorted(window)) this.#emit(window, key, cell, true)
      }
      if (window.endMs + this.#plan.latenessMs <= watermarkMs) {
        this.#windows.delete(window.startMs)
        this.keys -= window.cells.size + window.spilled
        this.#inMemory -= window.cells.size
        if (window.spilled > 0) this.#spill!.drop(window.startMs)
        this.#gone.push(window.startMs)
        if (this.#last === window) this.#last = undefined
      } else this.#wake(window)
    }
  }

  #early(window: Window, watermarkMs: number): void {
    const due = [...this.#sorted(window)].filter(([, { pending }]) => pending)
    // what was emitted has to be known: spilled ones come back, as if an event had come
    for (const [key] of due) this.#emit(window, key, window.cells.get(key) ?? this.#back(window, key)!, false)
    const passed = Math.floor((watermarkMs - window.startMs) / this.#earlyMs)
    window.earlyMs = window.startMs + (passed + 1) * this.#earlyMs
    window.unsaved = true
  }

  #emit(window: Window, key: string, cell: Cell, final: boolean): void {
    // that its row was emitted has to be in the checkpoint as well, or a replay would emit it again
    if (cell.pending && !cell.changed) {
      cell.changed = true
      window.changed.push(key)
    }
    cell.pending = false
    this.#plan.emit(key, window.startMs, window.endMs, cell.states, final)
  }

  *save(everything: boolean): Generator<StateRecord> {
    if (!everything) for (const startMs of this.#gone) yield [startMs]
    this.#gone = []
    for (const window of this.#windows.values()) {
      const keys = everything ? window.cells.keys() : window.changed
      if (everything || window.unsaved || window.changed.length > 0) {
        yield [window.startMs, window.closed, window.events, Number.isFinite(window.earlyMs) ? window.earlyMs : null]
      }
      for (const key of keys) {
        const cell = window.cells.get(key)!
        cell.changed = false
        yield [window.startMs, key, this.#aggregation.save(cell.states), ...(cell.pending ? [1] : [])]
      }
      if (everything && window.spilled > 0) {
        for (const { key, states, pending } of this.#spill!.sorted(window.startMs)) {
          yield [window.startMs, key, states, ...(pending ? [1] : [])]
        }
      }
      window.changed.length = 0
      window.unsaved = false
    }
  }

  restore([start, what, ...rest]: StateRecord): void {
    const startMs = start as number
    const known = this.#windows.get(startMs)
    if (what === undefined) {
      this.keys -= known ? known.cells.size + known.spilled : 0
      this.#inMemory -= known?.cells.size ?? 0
      if (known && known.spilled > 0) this.#spill!.drop(startMs)
      this.#windows.delete(startMs)
    } else if (typeof what === 'boolean') {
      const [events, earlyMs] = rest
      const window = known ?? {
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
      window.closed = what
      window.events = events as number
      window.earlyMs = time(earlyMs)
      this.#windows.set(startMs, window)
    } else {
      const [states, pending] = rest
      const key = what as string
      const { cells, spilled } = known!
      if (!cells.has(key) && !(spilled > 0 && this.#back(known!, key))) {
        this.keys += 1
        this.#inMemory += 1
      }
      const cell = { states: this.#aggregation.load(states as unknown[]), changed: false, pending: pending === 1 }
      cells.set(key, cell)
      this.#makeRoom()
    }
    this.nextMs = Number.POSITIVE_INFINITY
  }

  restored(): void {
    this.nextMs = Number.POSITIVE_INFINITY
    for (const window of this.#windows.values()) this.#wake(window)
  }
}
