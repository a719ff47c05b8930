// The map: a circle per airport, its size the flights of its last hour, its colour their median delay.
import { type GeoProjection, geoAlbersUsa, geoPath } from 'd3-geo'
import { mesh } from 'topojson-client'
import states from 'us-atlas/states-albers-10m.json'
import { minutes, placeOf } from './panels.ts'
import type { Row } from './rows.ts'

export interface City {
  readonly iata: string
  readonly name: string
  readonly city: string
  readonly state: string
  readonly latitude: number
  readonly longitude: number
}

const svg = 'http://www.w3.org/2000/svg'
const stops: readonly [at: number, rgb: readonly [number, number, number]][] = [
  [0, [52, 211, 153]],
  [24, [250, 204, 21]],
  [39, [251, 146, 60]],
  [60, [239, 68, 68]],
]
const labelled = 6
/** How far from a tap an airport may be, in pixels of the screen. */
const reach = 24

/** Green at no delay, red from an hour on. */
function colour(delay: number): string {
  const at = Math.max(0, Math.min(60, delay))
  for (let i = 1; i < stops.length; i++) {
    const [to, high] = stops[i]!
    const [from, low] = stops[i - 1]!
    if (at > to) continue
    const share = (at - from) / (to - from)
    return `rgb(${low.map((part, c) => Math.round(part + (high[c]! - part) * share)).join(',')})`
  }
  return 'rgb(239,68,68)'
}

export class AirportMap {
  readonly cities = new Map<string, City>()
  readonly #rows: ReadonlyMap<string, Row>
  readonly #circles = new Map<string, SVGCircleElement>()
  readonly #labels: SVGGElement
  readonly #layer: SVGGElement
  readonly #tip: HTMLElement
  readonly #asked = new Set<string>()
  // the same projection as the atlas was drawn with
  readonly #project: GeoProjection = geoAlbersUsa().scale(1300).translate([487.5, 305])
  readonly #root: SVGSVGElement
  readonly #onKnown: () => void
  /** Whose hour is told: where the pointer is, what was tapped, or what the keyboard reached. */
  #pointed: string | undefined
  /** Stays when the pointer leaves. */
  #pinned = false

  /** `onKnown`: where airports are was learnt, so the map is to be drawn anew. */
  constructor(root: SVGSVGElement, tip: HTMLElement, rows: ReadonlyMap<string, Row>, onKnown: () => void) {
    this.#onKnown = onKnown
    this.#rows = rows
    this.#tip = tip
    this.#root = root
    const path = geoPath()
    const atlas = states as unknown as TopoJSON.Topology<{ states: TopoJSON.GeometryCollection }>
    for (const [kind, shape] of [
      ['land', mesh(atlas, atlas.objects.states, (a, b) => a !== b)],
      ['land', mesh(atlas, atlas.objects.states, (a, b) => a === b)],
    ] as const) {
      const line = document.createElementNS(svg, 'path')
      line.setAttribute('d', path(shape) ?? '')
      line.setAttribute('class', kind)
      root.prepend(line)
    }
    this.#layer = document.createElementNS(svg, 'g')
    this.#labels = document.createElementNS(svg, 'g')
    root.append(this.#layer, this.#labels)
    // a finger hits no circle of two pixels: the nearest one is meant
    root.addEventListener('click', (event) => this.#pin(this.#nearest(event.clientX, event.clientY)))
    root.addEventListener('keydown', (event) => this.#onKey(event))
  }

  /** How many airports are on the map. */
  get shown(): number {
    return this.#circles.size
  }

  draw(): void {
    for (const [iata, circle] of this.#circles) {
      if (this.#rows.has(iata)) continue
      circle.remove() // of a run before
      this.#circles.delete(iata)
    }
    const unknown = [...this.#rows.keys()].filter((iata) => !this.cities.has(iata) && !this.#asked.has(iata))
    if (unknown.length > 0) void this.#askFor(unknown)
    for (const row of this.#rows.values()) this.#show(row)
    this.#label()
    this.#reachable()
    if (this.#pointed) this.#showTip(this.#pointed)
  }

  /** Units of the map in a pixel of the screen: what is to be read must not shrink with the map. */
  get #scale(): number {
    return Math.max(1, 975 / (this.#root.clientWidth || 975))
  }

  #centre(circle: Element): [x: number, y: number] {
    const { left, top, width, height } = circle.getBoundingClientRect()
    return [left + width / 2, top + height / 2]
  }

  #nearest(x: number, y: number): string | undefined {
    let best: string | undefined
    let least = reach
    for (const [iata, circle] of this.#circles) {
      const [cx, cy] = this.#centre(circle)
      const distance = Math.hypot(cx - x, cy - y)
      if (distance < least) [best, least] = [iata, distance]
    }
    return best
  }

  #pin(iata: string | undefined): void {
    this.#pinned = iata !== undefined
    if (iata) this.#showTip(iata)
    else this.#hush()
  }

  #hush(): void {
    this.#pointed = undefined
    this.#tip.hidden = true
  }

  /** One airport is reached with Tab, the others from it with the arrow keys. */
  #reachable(): void {
    if (this.#layer.querySelector('[tabindex="0"]')) return
    this.#layer.querySelector('circle')?.setAttribute('tabindex', '0')
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key === 'Escape') return this.#pin(undefined)
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key]
    const from = event.target as SVGElement
    if (!way || !from.dataset?.iata) return
    event.preventDefault()
    const [x, y] = this.#centre(from)
    let best: SVGCircleElement | undefined
    let least = Number.POSITIVE_INFINITY
    for (const circle of this.#circles.values()) {
      const [cx, cy] = this.#centre(circle)
      const along = (cx - x) * way[0]! + (cy - y) * way[1]!
      const toTheSide = Math.abs((cx - x) * way[1]! + (cy - y) * way[0]!)
      const cost = along + 2 * toTheSide
      if (along > 0.5 && cost < least) [best, least] = [circle, cost]
    }
    if (!best) return
    from.setAttribute('tabindex', '-1')
    best.setAttribute('tabindex', '0')
    best.focus()
  }

  #show(row: Row): void {
    const circle = this.#circles.get(row.origin) ?? this.#add(row.origin)
    if (!circle) return
    const larger = Math.sqrt(this.#scale)
    circle.setAttribute('r', String(larger * (row.stale ? 2 : 2.2 + 1.6 * Math.sqrt(row.flights))))
    circle.setAttribute('class', row.stale ? 'airport idle' : 'airport')
    circle.style.fill = row.stale ? '' : colour(row.p50)
  }

  /** The circle of an airport that is seen for the first time, once it is known where that is. */
  #add(iata: string): SVGCircleElement | undefined {
    const city = this.cities.get(iata)
    if (!city) return undefined
    const place = this.#project([city.longitude, city.latitude])
    if (!place) return undefined // outside of the map: Puerto Rico, Guam
    const circle = document.createElementNS(svg, 'circle')
    circle.setAttribute('cx', String(place[0]))
    circle.setAttribute('cy', String(place[1]))
    circle.dataset.iata = iata
    circle.setAttribute('tabindex', '-1')
    circle.setAttribute('role', 'img')
    circle.setAttribute('aria-label', `${iata}, ${placeOf(city)}`)
    circle.addEventListener('pointerenter', ({ pointerType }) => {
      if (pointerType !== 'touch' && !this.#pinned) this.#showTip(iata)
    })
    circle.addEventListener('pointerleave', () => {
      if (!this.#pinned) this.#hush()
    })
    circle.addEventListener('focus', () => this.#pin(iata))
    circle.addEventListener('blur', () => this.#pin(undefined))
    this.#circles.set(iata, circle)
    this.#layer.append(circle)
    return circle
  }

  /** Asks for all that are not known yet at once: browsers open few connections to a host, and the streams have most. */
  async #askFor(wanted: readonly string[]): Promise<void> {
    for (const iata of wanted) this.#asked.add(iata)
    const response = await fetch(`/airports?iata=${wanted.join(',')}`).catch(() => undefined)
    if (!response?.ok) {
      setTimeout(() => {
        for (const iata of wanted) this.#asked.delete(iata)
        this.#onKnown()
      }, 2_000)
      return
    }
    // one the service does not know stays off the map
    for (const city of (await response.json()) as City[]) this.cities.set(city.iata, city)
    this.#onKnown()
  }

  /** Names the worst of the busy ones, where no other name is. */
  #label(): void {
    const scale = this.#scale
    const size = 10.5 * scale
    const worst = [...this.#rows.values()]
      .filter((row) => !row.stale && row.flights >= 8 && row.p50 >= 15 && this.#circles.has(row.origin))
      .sort((a, b) => b.p50 - a.p50)
    const taken: [x: number, y: number][] = []
    const labels: SVGTextElement[] = []
    for (const row of worst) {
      if (labels.length >= (scale > 1.6 ? labelled / 2 : labelled)) break
      const circle = this.#circles.get(row.origin)!
      const x = Number(circle.getAttribute('cx')) + Number(circle.getAttribute('r')) + 3
      const y = Number(circle.getAttribute('cy')) + size / 3
      if (taken.some(([tx, ty]) => Math.abs(tx - x) < 3 * size && Math.abs(ty - y) < size)) continue
      taken.push([x, y])
      const text = document.createElementNS(svg, 'text')
      text.setAttribute('class', 'label')
      text.setAttribute('x', String(Math.min(x, 975 - 2.4 * size)))
      text.setAttribute('y', String(y))
      text.style.fontSize = `${size}px`
      text.textContent = row.origin
      labels.push(text)
    }
    this.#labels.replaceChildren(...labels)
  }

  #showTip(iata: string): void {
    const row = this.#rows.get(iata)
    const city = this.cities.get(iata)
    const circle = this.#circles.get(iata)
    if (!row || !circle) return
    this.#pointed = iata
    const title = document.createElement('b')
    title.textContent = `${iata} · ${placeOf(city)}${city?.state ? `, ${city.state}` : ''}`
    const text = `${row.hour.slice(11, 16)}–${String((Number(row.hour.slice(11, 13)) + 1) % 24).padStart(2, '0')}:00: ${row.flights} flights, median ${minutes(row.p50)} late, p95 ${minutes(row.p95)}, ${Math.round(row.late * 100)} % over a quarter of an hour`
    this.#tip.replaceChildren(title, text)
    this.#tip.hidden = false
    const at = circle.getBoundingClientRect()
    const frame = this.#tip.parentElement!.getBoundingClientRect()
    const left = Math.min(at.right - frame.left + 8, frame.width - this.#tip.offsetWidth - 8)
    const above = at.top - frame.top - this.#tip.offsetHeight
    this.#tip.style.left = `${Math.max(8, left)}px`
    // beside it where there is room, else above or below, so that it does not cover what it speaks of
    const beside = at.right - frame.left + 8 === left
    this.#tip.style.top = `${beside ? Math.max(8, above + this.#tip.offsetHeight / 2) : above >= 8 ? above - 6 : at.bottom - frame.top + 6}px`
  }
}
