// The NATS service API (ADR-32): every service answers PING, INFO and STATS on $SRV, so that any NATS tool sees it.
import type { Bus, BusSubscription } from '../bus/index.ts'
import type { Contract } from '../contract/index.ts'
import { jsonSchemaOf } from '../contract/index.ts'
import type { EndpointServer } from './endpoint-server.ts'

interface Discoverable {
  readonly bus: Bus
  readonly contract: Contract
  readonly instance: string
  readonly endpoints: readonly EndpointServer[]
  readonly metadata: Readonly<Record<string, string>>
  /** Counters beyond requests: jobs and events handled, as the service's own `data`. */
  readonly data: (endpoint: string) => unknown
}

/** Starts answering; call the result to stop. */
export function announce(service: Discoverable): () => void {
  const { bus, contract, instance, metadata } = service
  const started = new Date().toISOString()
  const identity = { name: contract.name, id: instance, version: contract.definition.version, metadata }
  const replies = {
    PING: () => ({ type: 'io.nats.micro.v1.ping_response', ...identity }),
    INFO: () => ({
      type: 'io.nats.micro.v1.info_response',
      ...identity,
      description: contract.definition.description ?? '',
      endpoints: service.endpoints.map(({ name, subject, endpoint }) => ({
        name,
        subject,
        queue_group: contract.name,
        metadata: endpointMetadata(contract, name, endpoint.idempotent === true),
      })),
    }),
    STATS: () => ({
      type: 'io.nats.micro.v1.stats_response',
      ...identity,
      started,
      endpoints: service.endpoints.map(({ name, subject, stats }) => ({
        name,
        subject,
        queue_group: contract.name,
        num_requests: stats.requests,
        num_errors: stats.errors,
        last_error: stats.lastError,
        processing_time: Math.round(stats.processingNs),
        average_processing_time: stats.requests === 0 ? 0 : Math.round(stats.processingNs / stats.requests),
        data: service.data(name),
      })),
    }),
  }
  const subscriptions: BusSubscription[] = []
  for (const [verb, reply] of Object.entries(replies)) {
    for (const subject of [
      `$SRV.${verb}`,
      `$SRV.${verb}.${contract.name}`,
      `$SRV.${verb}.${contract.name}.${instance}`,
    ]) {
      subscriptions.push(
        bus.subscribe(subject, (message) => {
          if (message.reply) bus.publish(message.reply, Buffer.from(JSON.stringify(reply())))
        }),
      )
    }
  }
  return () => {
    for (const subscription of subscriptions) subscription.unsubscribe()
  }
}

/** ADR-32 metadata is text only: the schemas travel as JSON text. */
function endpointMetadata(contract: Contract, name: string, idempotent: boolean): Record<string, string> {
  const endpoint = contract.definition.endpoints?.[name]
  if (!endpoint) return {}
  const out = 'stream' in endpoint.out ? endpoint.out.stream : endpoint.out
  const metadata: Record<string, string> = {
    idempotent: String(idempotent),
    streamed: String('stream' in endpoint.out),
    ...(endpoint.errors ? { errors: Object.keys(endpoint.errors).join(',') } : {}),
    ...(endpoint.claimCheck ? { claim_check: 'true' } : {}),
  }
  const request = jsonSchemaOf(endpoint.in)
  const response = jsonSchemaOf(out)
  if (request) metadata.request_schema = JSON.stringify(request)
  if (response) metadata.response_schema = JSON.stringify(response)
  if (endpoint.description) metadata.description = endpoint.description
  return metadata
}
