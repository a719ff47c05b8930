import { describe, expect, it } from 'vitest'
import { positionOf } from '../../../examples/airline/summary.ts'
import { codeOf, withNats } from '../../../test/support/nats.ts'
import { now } from '../clock.ts'
import { askAgain, ensureStream, persist } from '../internal.ts'

describe('a question to JetStream', () => {
  const nats = withNats()

  it('of the airline is asked again when the server is killed in that moment', async () => {
    await ensureStream(nats.bus, { name: 'EVT_flights_departed', subjects: ['evt.flights.departed.>'] })
    await persist(nats.bus, 'evt.flights.departed.ATL', Buffer.from('x'), { deadline: now() + 5_000 })
    process.kill(nats.server.pid, 'SIGKILL')
    expect(await positionOf(nats.bus)).toEqual({ flights: 1, windows: 0, ended: false })
  })

  it('fails at once where asking again would not help, and when its time is over', async () => {
    let asked = 0
    const refused = () => {
      asked += 1
      return Promise.reject(new Error('Permissions Violation for Publish to "x"'))
    }
    expect(await codeOf(askAgain(nats.bus, 'x', refused))).toBe('PERMISSION_DENIED')
    expect(asked).toBe(1)
    const slow = () => Promise.reject(new Error('timeout'))
    expect(await codeOf(askAgain(nats.bus, 'x', slow, 200))).toBe('DEADLINE_EXCEEDED')
  })
})
