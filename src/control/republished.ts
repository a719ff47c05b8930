// Whether a bucket's entry came out of a stream. Who may create streams can let the server republish into a bucket that
// they may not write themselves; the server marks such messages, and nobody follows them.

import type { KvEntry } from '@nats-io/kv'
import type { MsgHdrs } from '@nats-io/nats-core'
import { bucketStream } from '../bus/index.ts'

/** What the client library keeps of an entry and does not publish. */
interface Raw {
  readonly sm?: { readonly header?: MsgHdrs; readonly headers?: MsgHdrs }
}

export function republished(entry: KvEntry): boolean {
  const { sm } = entry as unknown as Raw
  // a direct get names the bucket's own stream in the same header
  const from = (sm?.header ?? sm?.headers)?.values('Nats-Stream') ?? []
  return from.some((stream) => stream !== bucketStream(entry.bucket))
}
