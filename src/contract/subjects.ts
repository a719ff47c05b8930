// The subjects and stream names that follow from a contract; the public wire interface, see `docs/wire.md`.
import { failure, nameOf } from '../bus/internal.ts'

/** The queue group of all endpoints: ADR-32's default, so that services of other programs share the calls with ours. */
export const queueGroup = 'q'
/** One instance of the service answers. */
export const endpointSubject = (service: string, endpoint: string) => `svc.${service}.${endpoint}`
/** Every instance answers: scatter/gather. */
export const everyInstanceSubject = (service: string, endpoint: string) => `svc.${service}._all.${endpoint}`
/** A caller gave up; the payload is the reply subject of its request. */
export const cancelSubject = (service: string) => `svc.${service}._cancel`

export function eventSubject(domain: string, event: string, key?: string): string {
  return key === undefined ? `evt.${domain}.${event}` : `evt.${domain}.${event}.${key}`
}
export const eventSubjects = (domain: string, event: string, keyed: boolean) =>
  keyed ? `evt.${domain}.${event}.*` : `evt.${domain}.${event}`
/**
 * The stream of a durable event.
 * @example eventStream('flights', 'departed') // EVT_flights_departed
 */
export const eventStream = (domain: string, event: string) => nameOf('events', domain, event)

export const jobSubject = (service: string, job: string) => `job.${service}.${job}`
/**
 * The stream that a job waits in.
 * @example jobStream('rebooking', 'rebook') // JOB_rebooking_rebook
 */
export const jobStream = (service: string, job: string) => nameOf('jobs', service, job)
/** A unique job that waits for its time; every job of a key, waiting for it or not, within the job's stream. */
export const delayedUniqueSubject = (service: string, job: string, key: string) => `job.${service}._at_${job}.${key}`
export const everyUniqueSubject = (service: string, key: string) => `job.${service}.*.${key}`

/** Messages that failed too often, kept with their reason. */
export const deadLetterStream = (service: string) => nameOf('dead letters', service)
export const deadLetterSubject = (service: string, kind: 'job' | 'event', name: string, consumer: string) =>
  `dlq.${service}.${kind}.${name}.${consumer}`
/** How often the jobs and events of a service were begun. */
export const triesStream = (service: string) => nameOf('tries', service)
export const triesSubject = (service: string, stream: string, consumer: string) =>
  `try.${service}.${stream}.${consumer}`

/** Payloads of dead letters that leave no room for a reason in their message. */
export const deadLetterDataSubject = (service: string) => `dlq.${service}._data`

const tokenForm = /^[^\s.*>\p{Cc}\p{Cs}]+$/u
/** A server takes lines of 4,096 bytes at most: a subject, where replies go and two numbers. */
const maxTokenBytes = 1_024

/**
 * A value as one token of a subject.
 * @throws MyelinError INVALID_INPUT when it holds blanks, dots or wildcards, or is longer than 1,024 bytes
 */
export function subjectToken(value: unknown, where: string): string {
  const token = typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' ? String(value) : ''
  if (token.length > maxTokenBytes / 3 && Buffer.byteLength(token) > maxTokenBytes) {
    throw failure(
      'INVALID_INPUT',
      `${where}: "${token.slice(0, 40)}…" has ${Buffer.byteLength(token)} bytes; a part of a subject has ${maxTokenBytes} at most`,
    )
  }
  if (!tokenForm.test(token)) {
    throw failure(
      'INVALID_INPUT',
      `${where}: ${shown(value)} cannot be part of a subject; it needs text without blanks, dots, * and >`,
    )
  }
  return token
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  return value === null || typeof value === 'boolean'
    ? String(value)
    : value === undefined
      ? 'nothing'
      : `a ${typeof value}`
}
