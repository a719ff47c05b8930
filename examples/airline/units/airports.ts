// The airports of the United States: a typed service over a CSV file.
import { readFile } from 'node:fs/promises'
import { parse } from 'csv-parse/sync'
import { service } from 'myelin/service'
import { z } from 'zod'
import { type Airport, airports } from '../contracts/airports.ts'
import { airportsFile } from './data.ts'

export default service(airports, {
  config: z.object({ file: z.string().default(airportsFile).describe('CSV with iata, name, city, state, position') }),
  setup: ({ config }) => AirportIndex.load(config.file),
  health: { loaded: ({ state }) => state.size > 0 || 'no airports loaded' },

  get: ({ iata }, { state, fail }) => state.get(iata) ?? fail('UNKNOWN', { iata }),

  nearest: ({ iata, count, among }, { state, fail }) => {
    const from = state.get(iata)
    return from ? state.nearest(from, count, among) : fail('UNKNOWN', { iata })
  },

  async *search({ text }, { state }) {
    yield* state.matching(text)
  },
})

/** The file writes NA where it does not know: that is no name of a city. */
const known = z.string().transform((text) => (text === 'NA' ? '' : text))

const rowSchema = z.array(
  z.object({
    iata: z.string(),
    name: z.string(),
    city: known,
    state: known,
    latitude: z.coerce.number(),
    longitude: z.coerce.number(),
  }),
)

class AirportIndex {
  readonly #byCode: ReadonlyMap<string, Airport>

  constructor(airports: readonly Airport[]) {
    this.#byCode = new Map(airports.map((airport) => [airport.iata, airport]))
  }

  static async load(file: string): Promise<AirportIndex> {
    const rows = parse(await readFile(file, 'utf8'), { columns: true, skip_empty_lines: true })
    return new AirportIndex(rowSchema.parse(rows))
  }

  get size(): number {
    return this.#byCode.size
  }

  get(iata: string): Airport | undefined {
    return this.#byCode.get(iata)
  }

  nearest(from: Airport, count: number, among: readonly string[] | undefined): (Airport & { km: number })[] {
    const candidates = among ? among.map((iata) => this.#byCode.get(iata)) : [...this.#byCode.values()]
    return candidates
      .filter((airport): airport is Airport => airport !== undefined && airport.iata !== from.iata)
      .map((airport) => ({ ...airport, km: Math.round(distanceKm(from, airport)) }))
      .sort((a, b) => a.km - b.km)
      .slice(0, count)
  }

  /** By how well they fit: the code itself, then what begins with the text, then what holds it. */
  *matching(text: string): Generator<Airport> {
    const wanted = text.toLowerCase()
    const rank = (airport: Airport) => {
      if (airport.iata.toLowerCase() === wanted) return 0
      const fields = [airport.city, airport.name, airport.iata, airport.state].map((field) => field.toLowerCase())
      if (fields.some((field) => field.startsWith(wanted))) return 1
      return fields.some((field) => field.includes(wanted)) ? 2 : 3
    }
    for (const group of [0, 1, 2]) {
      for (const airport of this.#byCode.values()) if (rank(airport) === group) yield airport
    }
  }
}

const radians = Math.PI / 180

/** Great-circle distance by the haversine formula. */
function distanceKm(a: Airport, b: Airport): number {
  const latitudes = Math.sin(((b.latitude - a.latitude) * radians) / 2) ** 2
  const longitudes = Math.sin(((b.longitude - a.longitude) * radians) / 2) ** 2
  const h = latitudes + Math.cos(a.latitude * radians) * Math.cos(b.latitude * radians) * longitudes
  return 2 * 6371 * Math.asin(Math.sqrt(h))
}
