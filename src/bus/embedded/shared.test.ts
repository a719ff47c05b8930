import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startParent } from '../../../test/support/embedded-parent.ts'
import { until } from '../../../test/support/nats.ts'
import { now } from '../clock.ts'
import { connect } from '../connect.ts'
import { ensureStream, persist, streamInfo } from '../index.ts'
import { embeddedNats } from './index.ts'

describe('the server of a folder', () => {
  let storeDir: string
  const named = process.env.NATS_URL
  beforeAll(async () => {
    delete process.env.NATS_URL
    storeDir = await mkdtemp(join(tmpdir(), 'myelin-test-'))
  })
  afterAll(async () => {
    if (named !== undefined) process.env.NATS_URL = named
    await rm(storeDir, { recursive: true, force: true })
  })

  it('goes on in another process when the one that ran it is killed −9', async () => {
    const first = startParent(storeDir)
    const { url } = await first.ready
    await using bus = await connect({ storeDir })
    await using watching = await connect({ storeDir, embed: false }) // as `myelin ls` does: it starts nothing
    const took: string[] = []
    bus.on((event) => event.type === 'took-over' && took.push(event.server))
    watching.on((event) => event.type === 'took-over' && took.push('the wrong one'))
    await ensureStream(bus, { name: 'KEPT', subjects: ['kept'] })
    await persist(bus, 'kept', Buffer.from('x'), { deadline: now() + 5_000 })
    first.kill()
    await until(() => took.length > 0 && bus.connected && watching.connected, 30_000)
    expect(took).toEqual([url])
    expect((await streamInfo(bus, 'KEPT'))?.state.messages).toBe(1)
  }, 60_000)

  it('is started once, by whoever is first, and used by all that begin at the same moment', async () => {
    const [one, two] = await Promise.all([connect({ storeDir }), connect({ storeDir })])
    expect(one.url).toBe(two.url)
    await two.close()
    await one.close()
  }, 60_000)

  it('that was started with settings of its own is not replaced by another one: its end is told', async () => {
    const server = await embeddedNats({ storeDir, maxPayloadBytes: 100_000 })
    const bus = await connect({ storeDir })
    const reported: string[] = []
    bus.on((event) => event.type === 'error' && reported.push(event.error.message))
    await server.stop()
    await bus.closed()
    expect(reported.join()).toContain('start it again as it was started')
  }, 60_000)
})
