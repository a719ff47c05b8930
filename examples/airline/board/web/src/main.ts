// The board: what the three streams say, drawn at most ten times a second however fast they come.
import './style.css'
import { listen } from 'myelin/sse/browser'
import { AirportMap } from './map.ts'
import { showEmpty, showRebookings, showUnusual, showWorst } from './panels.ts'
import { type Progress, type Rebooked, type Row, stale, type UnusualHour } from './rows.ts'
import { SpeedControl } from './speed.ts'

const element = (id: string) => document.getElementById(id) as HTMLElement
const number = (value: number) => Math.round(value).toLocaleString('en')

const rows = new Map<string, Row>()
let progress: Progress | undefined
let live = false
const lastRebooked: Rebooked[] = []
const unusual = new Map<string, UnusualHour>()
let changed = true

const map = new AirportMap(element('map') as unknown as SVGSVGElement, element('tip'), rows, () => {
  changed = true
})
const speed = new SpeedControl(element('speeds'))

// everything is in streams that were made anew (--fresh): what was shown is of another run
const forget = () => {
  rows.clear()
  unusual.clear()
  lastRebooked.length = 0
  changed = true
}
const delays = listen<Row>('/streams/delays?every=250', {
  row: (row) => {
    rows.set(row.origin, row)
    changed = true
  },
  gap: forget,
  state: (now) => {
    live = now === 'live'
    element('connection').textContent = live ? 'live' : 'connection lost, coming back…'
    element('connection').dataset.state = now
    changed = true
  },
})
listen<Progress>('/streams/progress', {
  row: (next) => {
    progress = next
    speed.show(next.speed)
    changed = true
  },
})
listen<UnusualHour>('/streams/unusual?every=500', {
  row: (row) => {
    unusual.set(row.origin, row)
    changed = true
  },
})
const rebookings = listen<Rebooked>('/streams/rebooked', {
  row: (job) => {
    lastRebooked.unshift(job)
    if (lastRebooked.length > 4) lastRebooked.pop()
    changed = true
  },
})

function draw(): void {
  if (!changed) return
  changed = false
  if (progress) {
    element('clock').textContent = progress.clock.slice(0, 16).replace('T', ' ')
    const share = `${number((100 * progress.sent) / progress.total)} % of ${number(progress.total)} flights`
    element('clock-note').textContent = progress.finished
      ? 'the end of the file'
      : `${progress.speed === 0 ? 'paused · ' : ''}${share}`
    element('clock').classList.toggle('paused', progress.speed === 0)
    element('flights').textContent = number(progress.sent)
    element('rate').textContent = number(progress.perSecond)
    element('progress').style.width = `${(100 * progress.sent) / progress.total}%`
  }
  // positions in their streams: how many there are in all, and not since the page was opened
  element('windows').textContent = number(Number(delays.lastEventId))
  element('rebooked').textContent = number(Number(rebookings.lastEventId))
  const hour = latestHour()
  for (const row of rows.values()) row.stale = stale(row, hour)
  map.draw()
  showEmpty(element('map-empty'), { live, progress, rows: rows.size, shown: map.shown })
  showWorst(rows, map.cities, hour)
  showUnusual(unusual, map.cities)
  showRebookings(lastRebooked)
}

function latestHour(): string {
  let latest = ''
  for (const { hour } of rows.values()) if (hour > latest) latest = hour
  return latest
}

setInterval(draw, 100)
new ResizeObserver(() => {
  changed = true
}).observe(element('map'))
