// Claim check: a payload too large for a message waits in the object store, and the message carries its ticket.
// Only endpoints that declare `claimCheck: true` do this. Who waits for the call removes both payloads when it is over;
// those of callers that were killed go after ten minutes.
import { type Bus, failure, nameOf, Objects, type ObjectWait, perConnection } from '../bus/internal.ts'

const bucket = nameOf('bucket', 'CLAIMS')
const keptMs = 10 * 60_000
const keptBytes = 1024 ** 3

const claims = perConnection(
  (bus) =>
    new Objects(bus, bucket, {
      ttlMs: keptMs,
      maxBytes: keptBytes,
      description: 'payloads too large for a message, kept until they were read, at most ten minutes',
    }),
)

/** Stores a payload; returns its ticket. @throws MyelinError STREAM_FULL, DEADLINE_EXCEEDED, CANCELLED, DISCONNECTED, … */
export async function storeClaim(bus: Bus, data: Uint8Array, wait?: ObjectWait): Promise<string> {
  const name = crypto.randomUUID()
  await claims(bus).put(name, data, wait)
  return `${bucket}/${name}`
}

/** Fetches what a ticket stands for. @throws MyelinError CLAIM_NOT_FOUND, DEADLINE_EXCEEDED, CANCELLED, … */
export async function fetchClaim(bus: Bus, claim: string, wait?: ObjectWait): Promise<Uint8Array> {
  const [from, name] = claim.split('/')
  if (from !== bucket || !name) throw failure('CLAIM_NOT_FOUND', `"${claim}" is not a claim of ${bucket}`)
  const data = await claims(bus).get(name, wait)
  if (!data) throw failure('CLAIM_NOT_FOUND', `claim ${name} is gone; claims are kept for ${keptMs / 60_000} minutes`)
  return data
}

/** Removes what a ticket stands for, once nobody will read it any more; a failure is no matter, it goes with its age. */
export function forgetClaim(bus: Bus, claim: string): void {
  const [from, name] = claim.split('/')
  if (from === bucket && name)
    claims(bus)
      .delete(name)
      .catch(() => undefined)
}
