// The board: what the three streams say, drawn at most ten times a second however fast they come.
import './style.css'
import { listen } from 'myelin/sse/browser'
import { AirportMap } from './map.ts'
import { showRebookings, showUnusual, showWorst } from './panels.ts'
import { type Progress, type Rebooked, type Row, stale, type UnusualHour } from './rows.ts'
import { SpeedControl } from './speed.ts'

const element = (id: string) => document.getElementById(id) as HTMLElement
const number = (value: number) => Math.round(value).toLocaleString('en')

const rows = new Map<string, Row>()
let progress: Progress | undefined
let windows = 0
let rebooked = 0
const lastRebooked: Rebooked[] = []
const unusual = new Map<string, UnusualHour>()
let changed = true

const map = new AirportMap(element('map') as unknown as SVGSVGElement, element('tip'), rows)
const speed = new SpeedControl(element('speeds'))

const state = (live: boolean) => {
  element('connection').textContent = live ? 'live' : 'connection lost, coming back…'
  element('connection').dataset.state = live ? 'live' : 'waiting'
}
listen<Row>('/streams/delays?every=250', {
  row: (row, id) => {
    rows.set(row.origin, row)
    windows = Math.max(windows, id)
    changed = true
  },
  state: (now) => state(now === 'live'),
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
listen<Rebooked>('/streams/rebooked', {
  row: (job) => {
    rebooked += 1
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
  showUnusual(unusual, map.cities)
  showRebookings(lastRebooked)
}

function latestHour(): string {
  let latest = ''
  for (const { hour } of rows.values()) if (hour > latest) latest = hour
  return latest
}

setInterval(draw, 100)
