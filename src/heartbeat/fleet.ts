// The live registry: who is there, how they are, and what changes; in any process, without a central one.
import {
  type Bus,
  type BusSubscription,
  failure,
  isRecord,
  now,
  readJsonObject,
  readSpan,
  streamInfo,
} from '../bus/internal.ts'
import { type Logger, openAll } from '../unit/internal.ts'
import { type Beat, beatSubject, readBeat, type UnitState } from './beat.ts'
import { beatsStream } from './beats-stream.ts'
import { PhiDetector } from './detector.ts'
import { matches, type Selector } from './selector.ts'

/** What a watcher makes of an instance: `left` said goodbye, `dead` fell silent. */
export type MemberStatus = 'alive' | 'suspect' | 'dead' | 'left'

/** An instance as the fleet knows it. */
export interface Member {
  readonly beat: Beat
  readonly status: MemberStatus
  /** How unlikely its silence is. */
  readonly phi: number
  /** Milliseconds since its last beat came. */
  readonly silentMs: number
}

/**
 * Something happened to an instance. `back`: alive again after suspicion or death; `restarted`: it began anew, sooner
 * than anybody could have missed it.
 */
export type Transition = 'joined' | 'suspect' | 'dead' | 'back' | 'restarted' | 'left'

export interface FleetChange {
  readonly transition: Transition
  readonly member: Member
}

export interface FleetOptions {
  /** Watch only this site's or unit's instances: their beats are all that travels here. */
  readonly site?: string
  readonly unit?: string
  /** Instances known at most; the longest gone are forgotten first. Default 20,000. */
  readonly maxMembers?: number
  /** How long the dead and those who left are remembered. Default 5 minutes. */
  readonly rememberMs?: number
  /** Where beats that cannot be read are named, each subject once. */
  readonly log?: Pick<Logger, 'warn'>
}

interface Entry {
  beat: Beat
  status: MemberStatus
  /** Who beat for it before, and how far: their beats that come late are of the past. */
  earlier?: Map<string, number>
  detector: PhiDetector
  /** By the watcher's own clock. */
  endedMs: number
}

const checkMs = 100
/** Within this time everybody who beats once a second has done so. */
const firstBeatMs = 1_100
/** How long what is remembered may take. */
const rememberMs = 2_000
/** A step of the clock that is longer was the watcher's own pause. */
const longestStepMs = 250
/** Subjects of malformed beats that are remembered, so that each is named once. */
const maxNamed = 1_000
/** Earlier incarnations of an instance that are remembered, the latest. */
const maxEarlier = 16

/** Whose beats these are: they count up from 1 within it. */
const incarnationOf = ({ incarnation, startedAt }: Beat): string => incarnation ?? `started ${startedAt}`

/**
 * Starts watching. Resolves with what the server remembers of the last minutes already in.
 *
 * @example
 * await using people = await fleet(bus, { site: 'atl' })
 * people.on(({ transition, member }) => console.log(transition, member.beat.unit))
 * await people.until({ unit: 'delays' }, (found) => found.some(({ status }) => status === 'alive'))
 */
export async function fleet(bus: Bus, options: FleetOptions = {}): Promise<Fleet> {
  return openAll(async (opened) => {
    const watching = new Fleet(bus, options)
    opened.add(() => watching.close())
    await watching.start()
    return watching
  })
}

export class Fleet implements AsyncDisposable {
  readonly #bus: Bus
  readonly #options: FleetOptions
  readonly #entries = new Map<string, Entry>()
  readonly #listeners = new Set<(change: FleetChange) => unknown>()
  readonly #stops: (() => void)[] = []
  #subscription: BusSubscription | undefined
  #turn = 0
  // The watcher's own time: it stands still while the watcher is stalled or cut off, so that neither ever looks like the
  // death of others.
  #clockMs = 0
  #tickedAt = performance.now()
  #malformed = 0
  readonly #named = new Set<string>()

  /** Use {@link fleet}. */
  constructor(bus: Bus, options: FleetOptions) {
    this.#bus = bus
    this.#options = options
  }

  /** Whether this watcher's own connection is lost or hears nothing: nothing can be said about the others. */
  get blind(): boolean {
    return !this.#bus.connected || this.#bus.stale
  }
  /** Beats that could not be read, or that spoke for another instance than their subject names. */
  get malformed(): number {
    return this.#malformed
  }

  /** @internal */
  async start(): Promise<void> {
    const { site = '*', unit = '*' } = this.#options
    const subject = `beat.${site}.${unit}.*`
    this.#subscription = this.#bus.subscribe(subject, (message) => this.#heard(message.subject, message.data))
    await this.#bus.flush()
    await this.#remember(subject)
    const timer = setInterval(() => this.#check(), checkMs)
    timer.unref()
    this.#stops.push(
      () => clearInterval(timer),
      this.#bus.on(({ type }) => {
        if (type === 'reconnected') this.#excuseAll()
      }),
    )
  }

  /** All instances that fit, sorted by site, unit and instance. */
  list(selector: Selector = {}): Member[] {
    return [...this.#entries.values()]
      .filter(({ beat }) => matches(beat, selector))
      .map((entry) => this.#member(entry))
      .sort(
        (a, b) =>
          a.beat.site.localeCompare(b.beat.site) ||
          a.beat.unit.localeCompare(b.beat.unit) ||
          a.beat.instance.localeCompare(b.beat.instance),
      )
  }

  /** An instance that is alive, ready and healthy, each in turn; undefined when there is none. */
  choose(selector: Selector): Member | undefined {
    const able = this.list(selector).filter(
      ({ status, beat }) =>
        status === 'alive' && beat.state === 'ready' && beat.checks.every((check) => check.status !== 'failed'),
    )
    this.#turn += 1
    return able[this.#turn % Math.max(1, able.length)]
  }

  /** Calls for every change. Returns a function that stops. */
  on(listener: (change: FleetChange) => unknown): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Resolves with the instances that fit when `done` says so of them. @throws MyelinError DEADLINE_EXCEEDED */
  async until(selector: Selector, done: (members: Member[]) => boolean, timeoutMs = 10_000): Promise<Member[]> {
    for (const end = now() + timeoutMs; ; ) {
      const members = this.list(selector)
      if (done(members)) return members
      if (now() > end) {
        throw failure(
          'DEADLINE_EXCEEDED',
          `the fleet did not become as wanted within ${timeoutMs} ms (${members.length} instances fit)`,
        )
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async close(): Promise<void> {
    for (const stop of this.#stops) stop()
    this.#subscription?.unsubscribe()
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** What the server remembers: an instance whose last beat is older than it promised is under suspicion at once. */
  async #remember(subject: string): Promise<void> {
    const info = await streamInfo(this.#bus, beatsStream, { subjects: subject }).catch(() => undefined)
    // nothing is remembered without JetStream, or when the server was just started: whoever is there says so soon
    if (!info) return void (await new Promise((resolve) => setTimeout(resolve, firstBeatMs)))
    if (Object.keys(info.state.subjects ?? {}).length === 0) return
    // by the clock of the server, which wrote down when each beat came: this machine's may say anything
    const serverMs = Date.parse((info as { ts?: string }).ts ?? '')
    const askedAt = now()
    const span = { subjects: [subject], latest: true, direct: true, signal: AbortSignal.timeout(rememberMs) }
    try {
      for await (const { subject, data, timestampMs } of readSpan(this.#bus, beatsStream, span)) {
        const ageMs = Number.isNaN(serverMs) ? 0 : serverMs - timestampMs + (now() - askedAt)
        this.#heard(subject, data, Math.max(0, ageMs))
      }
    } catch {
      // whoever is there says so soon
    }
  }

  /** `ageMs`: it is from the server's memory, and so old. */
  #heard(subject: string, data: Uint8Array, ageMs?: number): void {
    const beat = readBeat(data)
    // who may publish where is the server's to enforce; what a beat says of itself must agree with it
    if (!beat || subject !== beatSubject(beat.site, beat.unit, beat.instance)) {
      this.#refuse(subject, data)
      return
    }
    const heardMs = this.#now() - (ageMs ?? 0)
    const key = `${beat.site}.${beat.unit}.${beat.instance}`
    const entry = this.#entries.get(key)
    if (!entry) {
      this.#makeRoom()
      const status = beat.state === 'left' ? 'left' : 'alive'
      const fresh: Entry = { beat, status, detector: new PhiDetector(heardMs, beat.nextMs), endedMs: heardMs }
      this.#entries.set(key, fresh)
      if (status === 'alive') this.#announce('joined', fresh)
      return
    }
    if (ageMs === undefined ? isPast(entry, beat) : incarnationOf(beat) !== incarnationOf(entry.beat)) return
    if (ageMs !== undefined) {
      if (beat.seq > entry.beat.seq) entry.beat = beat
      return
    }
    const before = entry.status
    const again = beat.startedAt !== entry.beat.startedAt
    entry.beat = beat
    entry.detector.beat(heardMs, beat.nextMs)
    if (beat.state === 'left') {
      if (before !== 'left') this.#change(entry, 'left', 'left')
    } else if (before !== 'alive') this.#change(entry, 'alive', before === 'left' ? 'joined' : 'back')
    else if (again) this.#announce('restarted', entry)
  }

  #refuse(subject: string, data: Uint8Array): void {
    this.#malformed += 1
    if (this.#named.has(subject) || this.#named.size >= maxNamed) return
    this.#named.add(subject)
    this.#options.log?.warn(
      { subject, bytes: data.length, malformed: this.#malformed },
      `a beat on ${subject} cannot be read and is ignored; it is not named again`,
    )
  }

  #check(): void {
    const now = this.#now()
    if (this.blind) return
    const forget = now - (this.#options.rememberMs ?? 5 * 60_000)
    for (const [key, entry] of this.#entries) {
      if (entry.status === 'dead' || entry.status === 'left') {
        if (entry.endedMs < forget) this.#entries.delete(key)
        continue
      }
      const suspicion = entry.detector.suspicion(now)
      if (suspicion === 'dead') this.#change(entry, 'dead', 'dead')
      else if (suspicion === 'suspect' && entry.status === 'alive') this.#change(entry, 'suspect', 'suspect')
    }
  }

  /**
   * Listens to the server's own word about lost connections, on a connection with system-account credentials: death is
   * then known at once. A process that comes back by itself is told as `back` with its next beat.
   * Source: nats-server's `$SYS.ACCOUNT.<account>.DISCONNECT` advisories.
   */
  async believeServer(system: Bus): Promise<void> {
    const subscription = system.subscribe('$SYS.ACCOUNT.*.DISCONNECT', (message) => {
      const client = readJsonObject(message.data)?.client
      if (isRecord(client) && typeof client.name === 'string') this.#connectionLost(client.name)
    })
    this.#stops.push(() => subscription.unsubscribe())
    await system.flush()
  }

  #connectionLost(connection: string): void {
    for (const entry of this.#entries.values()) {
      if (entry.beat.connection === connection && entry.status === 'alive') this.#change(entry, 'dead', 'dead')
    }
  }

  #now(): number {
    const at = performance.now()
    const step = at - this.#tickedAt
    this.#tickedAt = at
    if (!this.blind) this.#clockMs += Math.min(step, longestStepMs)
    return this.#clockMs
  }

  /** After the watcher's own outage everybody gets the time of a first beat. */
  #excuseAll(): void {
    const now = this.#now()
    for (const { detector } of this.#entries.values()) detector.excuse(now)
  }

  #makeRoom(): void {
    if (this.#entries.size < (this.#options.maxMembers ?? 20_000)) return
    for (const [key, { status }] of this.#entries) {
      if (status === 'left' || status === 'dead') return void this.#entries.delete(key)
    }
    const [oldest] = this.#entries.keys()
    if (oldest !== undefined) this.#entries.delete(oldest)
  }

  #change(entry: Entry, status: MemberStatus, transition: Transition): void {
    entry.status = status
    entry.endedMs = this.#clockMs
    this.#announce(transition, entry)
  }

  #announce(transition: Transition, entry: Entry): void {
    const member = this.#member(entry)
    // a listener that throws keeps the others from nothing
    for (const listener of this.#listeners)
      this.#bus.guarded(() => listener({ transition, member }), 'a listener of fleet.on()')
  }

  #member(entry: Entry): Member {
    const now = this.#clockMs
    const { beat, status, detector } = entry
    return { beat, status, phi: status === 'left' ? 0 : detector.phi(now), silentMs: Math.round(now - detector.lastMs) }
  }
}

/**
 * Whether a beat is of the past: one that was overtaken, or of a run that another one followed. No clocks are
 * compared: a machine's may be set back. Remembers who is followed by whom.
 */
function isPast(entry: Entry, beat: Beat): boolean {
  const [is, was] = [incarnationOf(beat), incarnationOf(entry.beat)]
  // one that is dead and counts anew from a lower number, without another identity, must not be dead for ever
  if (is === was) return beat.seq <= entry.beat.seq && entry.status !== 'dead'
  const upTo = entry.earlier?.get(is)
  // it was followed by another one, which lives; or these are beats that were overtaken
  if (upTo !== undefined && (beat.seq <= upTo || entry.status === 'alive' || entry.status === 'suspect')) return true
  entry.earlier ??= new Map()
  entry.earlier.delete(is)
  entry.earlier.set(was, entry.beat.seq)
  if (entry.earlier.size > maxEarlier) entry.earlier.delete(entry.earlier.keys().next().value!)
  return false
}

/** The worst of an instance: its status where it is not alive, its state where it is not ready, its checks. */
export function conditionOf({ status, beat }: Member): MemberStatus | UnitState | 'degraded' {
  if (status !== 'alive') return status
  if (beat.state !== 'ready') return beat.state
  if (beat.checks.some((check) => check.status === 'failed')) return 'failed'
  return beat.checks.some((check) => check.status === 'degraded') ? 'degraded' : 'ready'
}
