// Claim check: a payload too large for a message waits in the object store, and the message carries its ticket.
// Only endpoints that declare `claimCheck: true` do this.
import { type ObjectStore, Objm } from '@nats-io/obj'
import { type Bus, failure, messageOf, nameOf } from '../bus/index.ts'

const bucket = nameOf('bucket', 'CLAIMS')
const keptMs = 10 * 60_000

const stores = new WeakMap<Bus, Promise<ObjectStore>>()

function claims(bus: Bus): Promise<ObjectStore> {
  let store = stores.get(bus)
  if (!store) {
    store = new Objm(bus.nats).create(bucket, {
      ttl: keptMs * 1_000_000,
      description: 'payloads too large for a message, kept for ten minutes',
    })
    store.catch(() => stores.delete(bus))
    stores.set(bus, store)
  }
  return store
}

/** Stores a payload; returns its ticket. @throws MyelinError STREAM_FULL */
export async function storeClaim(bus: Bus, data: Uint8Array): Promise<string> {
  const name = crypto.randomUUID()
  try {
    await (await claims(bus)).putBlob({ name }, data)
  } catch (cause) {
    throw failure('STREAM_FULL', `a payload of ${data.length} bytes could not be stored: ${messageOf(cause)}`, {
      cause,
    })
  }
  return `${bucket}/${name}`
}

/** Fetches what a ticket stands for. @throws MyelinError CLAIM_NOT_FOUND */
export async function fetchClaim(bus: Bus, claim: string): Promise<Uint8Array> {
  const [from, name] = claim.split('/')
  if (from !== bucket || !name) throw failure('CLAIM_NOT_FOUND', `"${claim}" is not a claim of ${bucket}`)
  const data = await (await claims(bus)).getBlob(name).catch(() => null)
  if (!data) throw failure('CLAIM_NOT_FOUND', `claim ${name} is gone; claims are kept for ${keptMs / 60_000} minutes`)
  return data
}
