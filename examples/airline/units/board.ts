// The airline's board: the SSE gateway with one page on it.
import { readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { failure } from 'myelin/bus'
import { client } from 'myelin/service'
import { fromEvent, fromView, sseGateway } from 'myelin/sse'
import { airports } from '../contracts/airports.ts'
import { delays, states, unusual } from '../contracts/delays.ts'
import { flights, Speed } from '../contracts/flights.ts'
import { rebooking } from '../contracts/rebooking.ts'

const mostAirports = 500
const pages = join(import.meta.dirname, '../board/dist')
const types: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
}

export default sseGateway({
  name: 'board',
  description: 'Delays, progress and rebookings for browsers, and the page that shows them.',
  streams: {
    // ?from= means hours of 2001, not when they were computed
    delays: fromView(delays, { time: ({ hour }) => hour }),
    states: fromView(states, { time: ({ hour }) => hour }),
    unusual: fromView(unusual, { time: ({ hour }) => hour }),
    progress: fromEvent(flights, 'progress'),
    rebooked: fromEvent(rebooking, 'done'),
  },
  routes: (app, { bus }) => {
    const feed = client(bus, flights, { caller: 'board' })
    const directory = client(bus, airports, { caller: 'board' })

    app.get('/speed', () => feed.speed({}))
    app.post<{ Body: { speed?: unknown } }>('/speed', (request) => {
      const parsed = Speed.safeParse(request.body?.speed)
      if (!parsed.success) throw failure('INVALID_INPUT', "speed: expected a number from 0 to 1,000,000 or 'max'")
      return feed.speed({ speed: parsed.data })
    })
    // several at once, those that the service knows
    app.get<{ Querystring: { iata?: string } }>('/airports', async (request) => {
      const asked = (request.query.iata ?? '').split(',').slice(0, mostAirports)
      const found = await Promise.all(asked.map((iata) => directory.get.try({ iata })))
      return found.flatMap((one) => (one.ok ? [one.value] : []))
    })

    const file = async (path: string, reply: { type(type: string): unknown }) => {
      const content = await readFile(join(pages, path)).catch(() => {
        throw failure('FILE_NOT_FOUND', `the page is not built: run \`npm run build\` (${path})`)
      })
      reply.type(types[extname(path)] ?? 'application/octet-stream')
      return content
    }
    app.get('/', (_request, reply) => file('index.html', reply))
    app.get<{ Params: { name: string } }>('/assets/:name', (request, reply) => {
      if (!/^[\w.-]+$/.test(request.params.name)) throw failure('INVALID_INPUT', 'no such file')
      return file(join('assets', request.params.name), reply)
    })
  },
})
