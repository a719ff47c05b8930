// The ground: one connection to NATS, or an embedded server; codecs, headers, deadlines, traces, errors, streams.
export { backoff } from './backoff.ts'
export { type Bucket, type BucketEntry, type BucketOptions, bucket } from './bucket.ts'
export { Bus, type BusEvent, type BusSubscription, type RequestOptions, type SubscribeOptions } from './bus.ts'
export { now } from './clock.ts'
export { encodeAttribute, eventAttributes, payloadText, readEvent, readPayload } from './cloud-event.ts'
export { type Codec, type CodecName, codecFor, codecs, isRecord, readJson, readJsonObject } from './codec.ts'
export { atLeast, connect } from './connect.ts'
export { Deadline, deadlines } from './deadlines.ts'
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
  messageOf,
} from './errors.ts'
export { Gathering, type GatherOptions, gather } from './gather.ts'
export {
  checkedId,
  copiedLines,
  type HeaderReader,
  type Headers,
  header,
  headerLine,
  headerLines,
  readHeaders,
  textHeaderLine,
} from './headers.ts'
export * from './jetstream/index.ts'
export { Lease, type LeaseOptions } from './lease.ts'
export { bucketStream, consumerName, formerNameOf, joinedName, nameOf, ownedStream, queueName } from './names.ts'
export { nearest, unknownKey } from './nearest.ts'
export { Objects, type ObjectsOptions, type ObjectWait } from './objects.ts'
export type { ConnectOptions } from './options.ts'
export { perConnection } from './per-connection.ts'
export { comparePositions, type Position, positionOf, sequenceOf } from './position.ts'
export { hideSecret, isReference, redact, redactText } from './redact.ts'
export { PendingReply } from './requests.ts'
export { boundedText } from './text.ts'
export { parseTime, timeForm } from './time.ts'
export { type LongTimer, longestTimerMs, setLongTimeout, sleep, timerMs } from './timer.ts'
export {
  boundedTraceLines,
  codeAndMessage,
  inTrace,
  messagingSpan,
  outgoingTrace,
  rpcSpan,
  sentIn,
  type TraceContext,
  type Traced,
  traceLines,
  traceOf,
  tracingOn,
} from './trace.ts'
export { asOwner, ownerOfErrors, trackSubscriptions } from './tracked.ts'
export { deadlineLines, readDeadline } from './wire-deadline.ts'
