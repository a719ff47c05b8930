// The keys of a bucket, without a consumer: one that is asked for every second would leave hundreds with the server until
// they expire.
import { type Bus, bucketStream, streamInfo } from '../bus/index.ts'

/** Keys that have a value, or had one. */
export async function keysOf(bus: Bus, bucket: string): Promise<string[]> {
  const prefix = `$KV.${bucket}.`
  const info = await streamInfo(bus, bucketStream(bucket), { subjects: `${prefix}>` })
  return Object.keys(info?.state.subjects ?? {}).map((subject) => subject.slice(prefix.length))
}
