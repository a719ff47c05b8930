import { constants, gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { GzipChain, gzipHeader, gzipSegment } from './gzip.ts'

const unpack = (segments: Buffer[]) =>
  // the trailer never comes
  gunzipSync(Buffer.concat([gzipHeader, ...segments]), { finishFlush: constants.Z_SYNC_FLUSH }).toString()

it('is one gzip stream for every client, whenever it joined and whatever it got of its own', () => {
  const text = fc.oneof(fc.string({ maxLength: 200 }), fc.constantFrom('{"origin":"ATL","delay":', 'x'.repeat(9_000)))
  fc.assert(
    fc.property(fc.array(fc.record({ text, event: fc.constantFrom('all', 'all', 'all', 'join', 'own') })), (steps) => {
      const chain = new GzipChain()
      const clients: { packed: Buffer[]; plain: string }[] = []
      for (const step of steps) {
        const bytes = Buffer.from(step.text)
        if (step.event === 'join') {
          clients.push({ packed: [], plain: '' })
          chain.restart()
        } else if (step.event === 'own' && clients.length > 0) {
          const client = clients[step.text.length % clients.length]!
          client.packed.push(gzipSegment(bytes))
          client.plain += step.text
          chain.restart()
        } else {
          const segment = chain.next(bytes)
          for (const client of clients) {
            client.packed.push(segment)
            client.plain += step.text
          }
        }
      }
      for (const { packed, plain } of clients) expect(unpack(packed)).toBe(Buffer.from(plain).toString())
    }),
  )
})

it('makes rows that resemble each other small', () => {
  const chain = new GzipChain()
  const row = (n: number) =>
    Buffer.from(
      `id: ${n}\nevent: delays\ndata: {"origin":"ATL","hour":"2001-03-01T05:00:00Z","flights":${n},"mean":${n / 7}}\n\n`,
    )
  const sizes = Array.from({ length: 50 }, (_, n) => [row(n).length, chain.next(row(n)).length] as const)
  const sum = (at: 0 | 1) => sizes.reduce((total, size) => total + size[at], 0)
  expect(sum(1) * 2).toBeLessThan(sum(0))
})
