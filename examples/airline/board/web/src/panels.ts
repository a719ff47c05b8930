// The tables at the side.
import type { City } from './map.ts'
import type { Rebooked, Row, UnusualHour } from './rows.ts'

/** Airports with so few flights say little. */
const fewest = 3

export function showWorst(rows: ReadonlyMap<string, Row>, cities: ReadonlyMap<string, City>): void {
  const worst = [...rows.values()]
    .filter((row) => !row.stale && row.flights >= fewest)
    .sort((a, b) => b.p50 - a.p50 || b.mean - a.mean)
    .slice(0, 8)
  const body = document.getElementById('worst')!
  body.replaceChildren(
    ...worst.map((row) => {
      const line = document.createElement('tr')
      const cell = (text: string, kind = '') => {
        const td = document.createElement('td')
        td.textContent = text
        td.className = kind
        line.append(td)
      }
      cell(row.origin)
      cell(cities.get(row.origin)?.city ?? '', 'city')
      cell(String(row.flights), 'n')
      cell(minutes(row.p50), 'n')
      cell(minutes(row.p95), 'n')
      cell(`${Math.round(row.late * 100)} %`, 'n')
      return line
    }),
  )
  document.getElementById('worst-empty')!.hidden = worst.length > 0
}

/** The latest hours that are far above what their airport's last week was like. */
export function showUnusual(rows: ReadonlyMap<string, UnusualHour>, cities: ReadonlyMap<string, City>): void {
  const latest = [...rows.values()].sort((a, b) => b.hour.localeCompare(a.hour) || b.mean - a.mean).slice(0, 4)
  document.getElementById('unusual')!.replaceChildren(
    ...latest.map(({ origin, hour, mean, usual }) => {
      const item = document.createElement('li')
      item.textContent = `${origin}, ${hour.slice(5, 10)} ${hour.slice(11, 16)}: ${minutes(mean)} `
      const note = document.createElement('span')
      note.textContent = `usually ${minutes(usual)} · ${cities.get(origin)?.city ?? ''}`
      item.append(note)
      return item
    }),
  )
  document.getElementById('unusual-empty')!.hidden = latest.length > 0
}

export function showRebookings(jobs: readonly Rebooked[]): void {
  document.getElementById('log')!.replaceChildren(
    ...jobs.map(({ flight, alternatives }) => {
      const item = document.createElement('li')
      item.textContent = `${flight.origin} → ${flight.destination}, ${hours(flight.delay)} late `
      const note = document.createElement('span')
      note.textContent = alternatives.length > 0 ? `near: ${alternatives.join(', ')}` : 'nowhere near'
      item.append(note)
      return item
    }),
  )
  document.getElementById('log-empty')!.hidden = jobs.length > 0
}

export const minutes = (value: number) => `${Math.round(value)} min`
const hours = (value: number) => `${Math.floor(value / 60)} h ${String(value % 60).padStart(2, '0')}`
