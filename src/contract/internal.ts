// For sibling folders: what users have, and more.
export { shapesOfDocument } from './compare/document.ts'
export {
  type ContractShape,
  type EndpointShape,
  type EventShape,
  type JobShape,
  type SchemaIn,
  shapeOf,
} from './compare/shape.ts'
export { anyContract } from './contract.ts'
export { durationText } from './durations.ts'
export { controlHeader, endOfInputValue } from './end-of-input.ts'
export * from './index.ts'
export {
  cancelSubject,
  deadLetterDataSubject,
  deadLetterStream,
  deadLetterSubject,
  delayedUniqueSubject,
  endpointSubject,
  eventSubject,
  eventSubjects,
  everyInstanceSubject,
  everyUniqueSubject,
  jobSubject,
  queueGroup,
  subjectToken,
  triesStream,
  triesSubject,
} from './subjects.ts'
export { parse } from './validate.ts'
