// Thousands of browsers in one process: bare sockets that count events and note how old they are.
import { connect, type Socket } from 'node:net'
import { nowMicros, subscribers } from './sse.ts'

const mark = Buffer.from('"t":')
const timeDigits = 15
const millisecond = 1_000
const slowest = 20_000

export async function run() {
  const sockets: Socket[] = []
  let delivered = 0
  // a histogram by millisecond; of what arrives together the oldest speaks for all, which is the worst it can be
  let ages = new Uint32Array(slowest + 1)
  const buffer = Buffer.allocUnsafeSlow(256 * 1024) // one for all: what is read is counted at once
  const count = (bytes: number) => {
    const data = buffer.subarray(0, bytes)
    const first = data.indexOf(mark)
    if (first < 0) return
    let events = 0
    for (let at = first; at >= 0; at = data.indexOf(mark, at + 100)) events += 1
    delivered += events
    const sent = Number(data.toString('latin1', first + mark.length, first + mark.length + timeDigits))
    const age = Math.round((nowMicros() - sent) / millisecond)
    if (age >= 0) ages[Math.min(slowest, age)]! += events // NaN: cut in the middle
  }
  const open = (port: number) =>
    new Promise<void>((resolve, reject) => {
      const opened = { yet: false }
      const socket = connect({
        port,
        host: '127.0.0.1',
        onread: {
          buffer,
          callback: (bytes) => {
            if (!opened.yet) resolve()
            opened.yet = true
            count(bytes)
            return true
          },
        },
      })
      socket.on('error', reject)
      socket.write('GET /streams/tick HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\r\n')
      sockets.push(socket)
    })
  return async ({ port, seconds }: { port?: number; seconds?: number }) => {
    if (port !== undefined) {
      for (const socket of sockets.splice(0)) socket.destroy()
      for (let i = 0; i < subscribers; i += 100) await Promise.all(Array.from({ length: 100 }, () => open(port)))
      return sockets.length
    }
    delivered = 0
    ages = new Uint32Array(slowest + 1)
    const started = performance.now()
    await new Promise((resolve) => setTimeout(resolve, (seconds ?? 1) * 1_000))
    const perSecond = (delivered * 1_000) / (performance.now() - started)
    return { perSecond, p50: percentile(ages, 0.5), p99: percentile(ages, 0.99) }
  }
}

function percentile(ages: Uint32Array, share: number): number {
  const all = ages.reduce((sum, count) => sum + count, 0)
  let seen = 0
  for (const [age, count] of ages.entries()) {
    seen += count
    if (seen >= all * share) return age
  }
  return 0
}
