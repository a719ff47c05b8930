// Limits without reservations: what a service may come to keep is not set aside for it, so that many fit on a small disk.
import { expect, it } from 'vitest'
import { z } from 'zod'
import { until, withNats } from '../../test/support/nats.ts'
import { contract } from '../contract/internal.ts'
import { client, serve, service } from './index.ts'

const nats = withNats({ extraConfig: 'jetstream { max_file_store: 1GB }' })

it('55 services with jobs start on one small empty store', async () => {
  const payload = z.object({ n: z.number() })
  const done: string[] = []
  const contracts = Array.from({ length: 55 }, (_, n) =>
    contract(`many${n}`, { version: '1.0.0', jobs: { work: { payload, attempts: 1 } } }),
  )
  const units = await Promise.all(
    contracts.map((made) => serve(nats.bus, service(made, { work: () => void done.push(made.name) }))),
  )
  await Promise.all(contracts.map((made) => client(nats.bus, made).work.enqueue({ n: 1 })))
  await until(() => done.length === 55, 30_000)
  expect(new Set(done).size).toBe(55)
  await Promise.all(units.map((unit) => unit.drain()))
})
