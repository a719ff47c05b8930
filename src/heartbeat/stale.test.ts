import { describe, expect, it, vi } from 'vitest'
import { until, withNats } from '../../test/support/nats.ts'
import { Checks, fleet, natsCheck, Pulse, serveHealth, stateOn } from './index.ts'

describe('an instance whose connection hears nothing', () => {
  const nats = withNats()

  it('is told as busy and fails /healthz and /readyz until the connection is back', async () => {
    const bus = await nats.connect()
    const checks = new Checks({ nats: { ...natsCheck(bus), cacheMs: 0 } })
    await using health = await serveHealth(bus, () => [], { port: 0 })
    const probe = async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${health.port}${path}`)
      return `${response.status} ${((await response.json()) as { problems: { reason: string }[] }).problems[0]?.reason ?? ''}`
    }
    const pulse = await Pulse.start({ connect: { servers: nats.server.url }, site: 's', intervalMs: 400 })
    pulse.add({
      unit: 'deaf',
      instance: 'one',
      kind: () => 'test',
      version: '1.0.0',
      tags: [],
      startedAt: Date.now(),
      state: () => stateOn(bus, 'ready'),
      revision: () => 0,
      checks: () => checks.results(),
      vitals: () => ({}),
    })
    await using watching = await fleet(nats.bus)
    const reported = () => watching.list({ unit: 'deaf' })[0]?.beat
    await until(() => reported()?.state === 'ready')
    expect([await probe('/healthz'), await probe('/readyz')]).toEqual(['200 ', '200 '])
    // how it comes to this is the watchdog's test
    const stale = vi.spyOn(bus, 'stale', 'get').mockReturnValue(true)
    const silent = vi.spyOn(bus, 'silentMs', 'get').mockReturnValue(4_200)
    await until(
      () =>
        reported()?.state === 'busy' && reported()?.stallMs === undefined && reported()?.checks[0]?.status === 'failed',
    )
    const reason = 'nothing has come from NATS for 4.2 s'
    expect(reported()?.checks[0]?.reason).toBe(reason)
    expect([await probe('/healthz'), await probe('/readyz')]).toEqual([`503 ${reason}`, `503 ${reason}`])
    stale.mockRestore()
    silent.mockRestore()
    await until(() => reported()?.state === 'ready')
    expect([await probe('/healthz'), await probe('/readyz')]).toEqual(['200 ', '200 '])
    await pulse.stop()
  })
})
