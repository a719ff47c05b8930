// The board: what the three streams say, drawn at most ten times a second however fast they come.
import './style.css'
import { AirportMap } from './map.ts'
import { showRebookings, showWorst } from './panels.ts'
import { type Progress, type Rebooked, type Row, stale } from './rows.ts'
import { SpeedControl } from './speed.ts'

const element = (id: string) => document.getElementById(id) as HTMLElement
const number = (value: number) => Math.round(value).toLocaleString('en')

const rows = new Map<string, Row>()
let progress: Progress | undefined
let windows = 0
let rebooked = 0
const lastRebooked: Rebooked[] = []
let changed = true

const map = new AirportMap(element('map') as unknown as SVGSVGElement, element('tip'), rows)
const speed = new SpeedControl(element('speeds'))

/** Listens to a stream; the browser itself comes back after a lost connection, and says what it saw last. */
function listen<T>(name: string, query: string, onData: (data: T, id: number) => void): EventSource {
  const source = new EventSource(`/streams/${name}${query}`)
  source.addEventListener(name, (event) => {
    onData(JSON.parse(event.data) as T, Number(event.lastEventId))
    changed = true
  })
  return source
}

const delays = listen<Row>('delays', '?every=250', (row, id) => {
  rows.set(row.origin, row)
  windows = Math.max(windows, id)
})
const state = (text: string, live: boolean) => {
  element('connection').textContent = text
  element('connection').dataset.state = live ? 'live' : 'waiting'
}
delays.addEventListener('open', () => state('live', true))
delays.addEventListener('error', () => state('connection lost, coming back…', false))

listen<Progress>('progress', '', (next) => {
  progress = next
  speed.show(next.speed)
})
listen<Rebooked>('rebooked', '', (job) => {
  rebooked += 1
  lastRebooked.unshift(job)
  if (lastRebooked.length > 6) lastRebooked.pop()
})

function draw(): void {
  if (!changed) return
  changed = false
  if (progress) {
    element('clock').textContent = progress.clock.slice(0, 16).replace('T', ' ')
    element('clock-note').textContent = progress.finished
      ? 'the end of the file'
      : `${number((100 * progress.sent) / progress.total)} % of ${number(progress.total)} flights`
    element('flights').textContent = number(progress.sent)
    element('rate').textContent = number(progress.perSecond)
    element('progress').style.width = `${(100 * progress.sent) / progress.total}%`
  }
  element('windows').textContent = number(windows)
  element('rebooked').textContent = number(rebooked)
  const clock = latestHour()
  for (const row of rows.values()) row.stale = stale(row, clock)
  map.draw()
  showWorst(rows, map.cities)
  showRebookings(lastRebooked)
}

function latestHour(): string {
  let latest = ''
  for (const { hour } of rows.values()) if (hour > latest) latest = hour
  return latest
}

setInterval(draw, 100)
