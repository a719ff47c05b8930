// The map: a circle per airport, its size the flights of its last hour, its colour their median delay.
import { type GeoProjection, geoAlbersUsa, geoPath } from 'd3-geo'
import { mesh } from 'topojson-client'
import states from 'us-atlas/states-albers-10m.json'
import { minutes } from './panels.ts'
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
  #hovered: string | undefined

  constructor(root: SVGSVGElement, tip: HTMLElement, rows: ReadonlyMap<string, Row>) {
    this.#rows = rows
    this.#tip = tip
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
  }

  draw(): void {
    for (const row of this.#rows.values()) this.#show(row)
    this.#label()
    if (this.#hovered) this.#tell(this.#hovered)
  }

  #show(row: Row): void {
    const circle = this.#circles.get(row.origin) ?? this.#add(row.origin)
    if (!circle) return
    circle.setAttribute('r', String(row.stale ? 2 : 2.2 + 1.6 * Math.sqrt(row.flights)))
    circle.setAttribute('class', row.stale ? 'airport idle' : 'airport')
    circle.style.fill = row.stale ? '' : colour(row.p50)
  }

  /** The circle of an airport that is seen for the first time, once it is known where that is. */
  #add(iata: string): SVGCircleElement | undefined {
    const city = this.cities.get(iata)
    if (!city) {
      void this.#ask(iata)
      return undefined
    }
    const place = this.#project([city.longitude, city.latitude])
    if (!place) return undefined // outside of the map: Puerto Rico, Guam
    const circle = document.createElementNS(svg, 'circle')
    circle.setAttribute('cx', String(place[0]))
    circle.setAttribute('cy', String(place[1]))
    circle.dataset.iata = iata
    circle.addEventListener('pointerenter', () => this.#tell(iata))
    circle.addEventListener('pointerleave', () => {
      this.#hovered = undefined
      this.#tip.hidden = true
    })
    this.#circles.set(iata, circle)
    this.#layer.append(circle)
    return circle
  }

  async #ask(iata: string): Promise<void> {
    if (this.#asked.has(iata)) return
    this.#asked.add(iata)
    const response = await fetch(`/airports/${iata}`).catch(() => undefined)
    if (response?.ok) this.cities.set(iata, (await response.json()) as City)
    // one the service does not know stays off the map; no answer at all is asked for again
    else if (!response || response.status >= 500) setTimeout(() => this.#asked.delete(iata), 2_000)
  }

  /** Names the worst of the busy ones. */
  #label(): void {
    const worst = [...this.#rows.values()]
      .filter((row) => !row.stale && row.flights >= 8 && row.p50 >= 15 && this.#circles.has(row.origin))
      .sort((a, b) => b.p50 - a.p50)
      .slice(0, labelled)
    this.#labels.replaceChildren(
      ...worst.map((row) => {
        const circle = this.#circles.get(row.origin)!
        const text = document.createElementNS(svg, 'text')
        text.setAttribute('class', 'label')
        text.setAttribute('x', String(Number(circle.getAttribute('cx')) + Number(circle.getAttribute('r')) + 3))
        text.setAttribute('y', String(Number(circle.getAttribute('cy')) + 3.5))
        text.textContent = row.origin
        return text
      }),
    )
  }

  #tell(iata: string): void {
    const row = this.#rows.get(iata)
    const city = this.cities.get(iata)
    const circle = this.#circles.get(iata)
    if (!row || !circle) return
    this.#hovered = iata
    const title = document.createElement('b')
    title.textContent = `${iata} · ${city ? `${city.city}, ${city.state}` : ''}`
    const text = `${row.hour.slice(11, 16)}–${String((Number(row.hour.slice(11, 13)) + 1) % 24).padStart(2, '0')}:00: ${row.flights} flights, median ${minutes(row.p50)} late, p95 ${minutes(row.p95)}, ${Math.round(row.late * 100)} % over a quarter of an hour`
    this.#tip.replaceChildren(title, text)
    this.#tip.hidden = false
    const at = circle.getBoundingClientRect()
    const frame = this.#tip.parentElement!.getBoundingClientRect()
    const left = Math.min(at.right - frame.left + 8, frame.width - this.#tip.offsetWidth - 8)
    this.#tip.style.left = `${left}px`
    this.#tip.style.top = `${Math.max(8, at.top - frame.top - this.#tip.offsetHeight / 2)}px`
  }
}
