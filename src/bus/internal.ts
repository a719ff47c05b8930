// For sibling folders: what users have, and more.
export { backoff } from './backoff.ts'
export { encodeAttribute, eventAttributes, payloadText } from './cloud-event.ts'
export { isRecord, readJson, readJsonObject } from './codec.ts'
export { atLeast } from './connect.ts'
export { Deadline, deadlines } from './deadlines.ts'
export { messageOf } from './errors.ts'
export { checkedId, copiedLines, textHeaderLine } from './headers.ts'
export * from './index.ts'
export { ensureOnce, keepBelow, persistIn } from './jetstream/ensured.ts'
export { compareStream, type StreamIdentity, type StreamPlace, streamIdentity } from './jetstream/identity.ts'
export { latestMessage, type SequenceAtOptions, sequenceAt, toMessage } from './jetstream/stored.ts'
export { deleteMessage, nameKept, purgeBefore, renewSource } from './jetstream/streams.ts'
export { bucketStream, consumerName, formerNameOf, joinedName, nameOf, ownedStream, queueName } from './names.ts'
export { nearest, unknownKey } from './nearest.ts'
export { perConnection } from './per-connection.ts'
export { positionOf, sequenceOf } from './position.ts'
export { hideSecret, isReference, redact, redactText } from './redact.ts'
export { boundedText } from './text.ts'
export { parseTime, timeForm } from './time.ts'
export { type LongTimer, longestTimerMs, setLongTimeout, timerMs } from './timer.ts'
export {
  boundedTraceLines,
  codeAndMessage,
  messagingSpan,
  outgoingTrace,
  rpcSpan,
  sentIn,
  type Traced,
  traceLines,
  traceOf,
  tracingOn,
} from './trace.ts'
export { asOwner, ownerOfErrors, trackSubscriptions } from './tracked.ts'
export { deadlineLines, readDeadline } from './wire-deadline.ts'
