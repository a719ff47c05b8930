// JetStream: streams as specs, publishing that resolves when stored, one-writer batches, bounded readers.

export { askAgain } from './asked.ts'
export { ensureOnce, keepBelow, persistIn } from './ensured.ts'
export { compareStream, type StreamGap, type StreamIdentity, type StreamPlace, streamIdentity } from './identity.ts'
export { StreamMessage } from './message.ts'
export { type Persisted, type PersistOptions, persist } from './publish.ts'
export { consume, type ReaderOptions, type StartPosition, type StreamReader } from './reader.ts'
export { readSpan, type SpanOptions } from './span.ts'
export {
  lastMessage,
  latestMessage,
  nextMessage,
  type SequenceAtOptions,
  type StoredMessage,
  sequenceAt,
  toMessage,
} from './stored.ts'
export {
  belowWish,
  deleteMessage,
  ensureStream,
  type FewCopies,
  nameKept,
  purgeBefore,
  removeStream,
  renewSource,
  type StreamSourceSpec,
  type StreamSpec,
  streamInfo,
} from './streams.ts'
export { type StreamWriter, streamWriter, type WriterOptions } from './writer.ts'
