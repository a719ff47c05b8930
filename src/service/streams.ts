// The streams that a contract's durable events and jobs live in, made when first used.
import { type Bus, ensureOnce, ownedStream, type StreamSpec } from '../bus/internal.ts'
import {
  type Contract,
  type Durable,
  delayedUniqueSubject,
  durationMs,
  eventSubjects,
  jobSubject,
} from '../contract/internal.ts'

/** The stream of a durable event. */
export function eventStreamSpec(contract: Contract, name: string): StreamSpec {
  const event = contract.definition.events?.[name]
  const where = `contract ${contract.name}.events.${name}.durable`
  const durable: Durable = typeof event?.durable === 'object' ? event.durable : {}
  return {
    ...ownedStream('events', contract.name, name),
    subjects: [eventSubjects(contract.name, name, event?.key !== undefined)],
    ...(event?.description ? { description: event.description } : {}),
    ...(durable.storage === undefined ? {} : { storage: durable.storage }),
    ...(durable.replicas === undefined ? {} : { replicas: durable.replicas }),
    discard: durable.discard ?? 'new',
    ...(durable.maxAge === undefined ? {} : { maxAgeMs: durationMs(durable.maxAge, `${where}.maxAge`) }),
    ...(durable.maxBytes === undefined ? {} : { maxBytes: durable.maxBytes }),
    ...(durable.maxMessages === undefined ? {} : { maxMessages: durable.maxMessages }),
    ...(durable.dedupWindow === undefined
      ? {}
      : { dedupWindowMs: durationMs(durable.dedupWindow, `${where}.dedupWindow`) }),
  }
}

/** The work queue of a job. Unique jobs get a subject per key, of which the stream holds one message at a time. */
export function jobStreamSpec(contract: Contract, name: string): StreamSpec {
  const job = contract.definition.jobs?.[name]
  const where = `contract ${contract.name}.jobs.${name}`
  return {
    ...ownedStream('jobs', contract.name, name),
    subjects: [...jobSubjects(contract, name), ...delayedSubjects(contract, name)],
    ...(job?.description ? { description: job.description } : {}),
    retention: 'workqueue',
    discard: 'new',
    schedules: true,
    ...(job?.unique === undefined ? {} : { maxMessagesPerSubject: 1, discardPerSubject: true }),
    ...(job?.maxAge === undefined ? {} : { maxAgeMs: durationMs(job.maxAge, `${where}.maxAge`) }),
    ...(job?.maxBytes === undefined ? {} : { maxBytes: job.maxBytes }),
  }
}

/** Where jobs wait for their time. */
export function delayedSubjects(contract: Contract, name: string): string[] {
  const delayed = `${jobSubject(contract.name, name)}._at.*`
  if (contract.definition.jobs?.[name]?.unique === undefined) return [delayed]
  return [delayedUniqueSubject(contract.name, name, '*'), delayed] // the latter: of version 0.1.0
}

/** What the workers of a job read. */
export function jobSubjects(contract: Contract, name: string): string[] {
  const subject = jobSubject(contract.name, name)
  return contract.definition.jobs?.[name]?.unique === undefined ? [subject] : [`${subject}.*`]
}

/** Dead letters of a service together; see `keepBelow`. */
export const deadLetterBytes = 1024 ** 3

/** Where a service keeps messages that failed too often; 30 days. */
export function deadLetterSpec(service: string): StreamSpec {
  return {
    ...ownedStream('dead letters', service),
    subjects: [`dlq.${service}.>`],
    description: `messages that ${service} could not handle, with their reason`,
    maxAgeMs: 30 * 86_400_000,
    maxMessages: 100_000,
    discard: 'old',
  }
}

/** How often jobs and events were begun: one message per worker, and one per job that is tried again; a week. */
export function triesSpec(service: string): StreamSpec {
  return {
    ...ownedStream('tries', service),
    subjects: [`try.${service}.>`],
    description: `how often ${service} began its jobs and events`,
    maxAgeMs: 7 * 86_400_000,
    maxMessagesPerSubject: 1,
    maxMessages: 500_000,
    discard: 'old',
  }
}

/** Makes sure that all streams of a contract exist. @throws MyelinError JETSTREAM_DISABLED, STREAM_MISMATCH */
export async function ensureContractStreams(bus: Bus, contract: Contract): Promise<void> {
  const { events = {}, jobs = {} } = contract.definition
  for (const [name, event] of Object.entries(events))
    if (event.durable) await ensureOnce(bus, eventStreamSpec(contract, name))
  for (const name of Object.keys(jobs)) await ensureOnce(bus, jobStreamSpec(contract, name))
  if (Object.keys(jobs).length > 0) await ensureOnce(bus, deadLetterSpec(contract.name))
}
