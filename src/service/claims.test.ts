// Payloads that wait in the object store: they are gone once they were read, and what fails while they are stored has
// the code of what happened, not of a full store.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { codeOf, until, withNats } from '../../test/support/nats.ts'
import { embeddedNats, streamInfo } from '../bus/internal.ts'
import { contract } from '../contract/internal.ts'
import { client, serve, service } from './index.ts'

const nats = withNats({ maxPayloadBytes: 65_536 })
const text = z.object({ text: z.string() })
const echo = contract('claims', {
  version: '1.0.0',
  endpoints: { claim: { in: text, out: text, claimCheck: true, timeoutMs: 20_000 } },
})
const large = { text: 'x'.repeat(1_000_000) }

describe('a claim', () => {
  it('is removed once it was read, in both directions, also when the call fails', async () => {
    const unit = await serve(
      nats.bus,
      service(echo, {
        claim: ({ text }) => {
          if (text.startsWith('y')) throw new Error('no')
          return { text }
        },
      }),
    )
    const api = client(nats.bus, echo)
    for (let i = 0; i < 5; i++) expect((await api.claim(large)).text.length).toBe(large.text.length)
    expect(await codeOf(api.claim({ text: `y${large.text}` }))).toBe('INTERNAL')
    await until(async () => (await streamInfo(nats.bus, 'OBJ_MYELIN_CLAIMS'))!.state.messages === 0)
    await unit.drain()
  })

  it('whose upload loses its connection says so, and nothing of a full store', async () => {
    const server = await embeddedNats({ maxPayloadBytes: 65_536, restart: false })
    await using bus = await nats.connect({ servers: server.url })
    const unit = await serve(bus, service(echo, { claim: (payload) => payload }))
    const api = client(bus, echo)
    await api.claim(large)
    const call = codeOf(api.claim({ text: 'x'.repeat(30_000_000) }, { timeoutMs: 3_000 }))
    await until(async () => (await streamInfo(bus, 'OBJ_MYELIN_CLAIMS'))!.state.messages > 5)
    await server.stop()
    const code = await call
    expect(['DISCONNECTED', 'DEADLINE_EXCEEDED']).toContain(code)
    await bus.close()
    await unit.drain().catch(() => undefined)
  })
})
