// The tables at the side.
import type { City } from './map.ts'
import type { Progress, Rebooked, Row, UnusualHour } from './rows.ts'

/** Airports with so few flights say little. */
const fewest = 3

/** Why there is nothing on the map, while there is nothing. */
export function showEmpty(
  note: HTMLElement,
  { live, progress, rows, shown }: { live: boolean; progress: Progress | undefined; rows: number; shown: number },
): void {
  note.hidden = shown > 0
  if (shown > 0) return
  if (!live) note.textContent = 'Connecting to the streams…'
  else if (rows > 0) note.textContent = 'Waiting for the airports service: it knows where the airports are.'
  else if (!progress) note.textContent = 'Waiting for the feed. Is it running? `npx myelin ls` tells.'
  else if (progress.speed === 0) note.textContent = 'The feed is paused. Choose a speed above.'
  else if (progress.finished) note.textContent = 'The file is through, and no hour of it was closed.'
  else note.textContent = 'No hour of flights has closed yet; at this speed it takes a while. A higher speed is above.'
}

/** Airports whose flights of the last closed hour left late, the latest first. */
export function showWorst(rows: ReadonlyMap<string, Row>, cities: ReadonlyMap<string, City>, hour: string): void {
  const worst = [...rows.values()]
    .filter((row) => row.hour === hour && row.flights >= fewest && row.p50 > 0)
    .sort((a, b) => b.p50 - a.p50 || b.mean - a.mean)
    .slice(0, 8)
  document.getElementById('worst-hour')!.textContent = hour === '' ? '' : `from ${hour.slice(11, 16)}`
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
      cell(placeOf(cities.get(row.origin)), 'city')
      cell(String(row.flights), 'n')
      cell(minutes(row.p50), 'n')
      cell(minutes(row.p95), 'n')
      cell(`${Math.round(row.late * 100)} %`, 'n')
      return line
    }),
  )
  document.getElementById('worst-empty')!.hidden = worst.length > 0 || hour === ''
}

/** The latest hours that are far above what their airport's last week was like. */
export function showUnusual(rows: ReadonlyMap<string, UnusualHour>, cities: ReadonlyMap<string, City>): void {
  const latest = [...rows.values()].sort((a, b) => b.hour.localeCompare(a.hour) || b.mean - a.mean).slice(0, 4)
  document.getElementById('unusual')!.replaceChildren(
    ...latest.map(({ origin, hour, mean, usual }) => {
      const item = document.createElement('li')
      item.textContent = `${origin}, ${hour.slice(5, 10)} ${hour.slice(11, 16)}: ${minutes(mean)} `
      const note = document.createElement('span')
      note.textContent = `usually ${minutes(usual)} · ${placeOf(cities.get(origin))}`
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

/** Where an airport is: its city, or its name where the file knows no city. */
export const placeOf = (city: City | undefined) => (city ? city.city || city.name : '…')

export const minutes = (value: number) => `${Math.round(value)} min`
const hours = (value: number) => `${Math.floor(value / 60)} h ${String(value % 60).padStart(2, '0')}`
