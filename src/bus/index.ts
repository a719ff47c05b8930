// The ground: one connection to NATS, or an embedded server; codecs, headers, deadlines, traces, errors, streams.
export { type Bucket, type BucketEntry, type BucketOptions, bucket } from './bucket.ts'
export { Bus, type BusEvent, type BusSubscription, type RequestOptions, type SubscribeOptions } from './bus.ts'
export { now } from './clock.ts'
export { readEvent, readPayload } from './cloud-event.ts'
export { type Codec, type CodecName, codecFor, codecs } from './codec.ts'
export { connect } from './connect.ts'
export {
  type EmbeddedEvent,
  type EmbeddedNats,
  type EmbeddedOptions,
  embeddedNats,
  type RunningServer,
  runningServer,
} from './embedded/index.ts'
export { ErrorOutput, type Rejected, type Rejection, readRejection } from './error-output.ts'
export {
  type DataOf,
  type ErrorCode,
  type ErrorData,
  errorCatalogue,
  failure,
  hasCode,
  isErrorCode,
  MyelinError,
} from './errors.ts'
export { Gathering, type GatherOptions, gather } from './gather.ts'
export { type HeaderReader, type Headers, header, headerLine, headerLines, readHeaders } from './headers.ts'
export { askAgain } from './jetstream/asked.ts'
export type { StreamGap } from './jetstream/identity.ts'
export { StreamMessage } from './jetstream/message.ts'
export { type Persisted, type PersistOptions, persist } from './jetstream/publish.ts'
export { consume, type ReaderOptions, type StartPosition, type StreamReader } from './jetstream/reader.ts'
export { readSpan, type SpanOptions } from './jetstream/span.ts'
export { lastMessage, nextMessage, type StoredMessage } from './jetstream/stored.ts'
export {
  belowWish,
  ensureStream,
  type FewCopies,
  removeStream,
  type StreamSourceSpec,
  type StreamSpec,
  streamInfo,
} from './jetstream/streams.ts'
export { type StreamWriter, streamWriter, type WriterOptions } from './jetstream/writer.ts'
export { Lease, type LeaseOptions } from './lease.ts'
export { Objects, type ObjectsOptions, type ObjectWait } from './objects.ts'
export type { ConnectOptions } from './options.ts'
export { comparePositions, type Position } from './position.ts'
export { PendingReply } from './requests.ts'
export { sleep } from './timer.ts'
export { inTrace, type TraceContext } from './trace.ts'
