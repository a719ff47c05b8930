// What the gateway does, in Prometheus' text format.
import { Counter, Gauge, Registry } from 'prom-client'
import type { Counters } from './counters.ts'

interface Measured {
  readonly name: string
  readonly clients: number
  readonly counters: Counters
}

/** `GET /metrics`: the counters are the topics' own, read when they are asked for. */
export async function metricsText(
  topics: Iterable<Measured>,
  rejected: Readonly<Record<string, number>>,
): Promise<{ type: string; text: string }> {
  const registry = new Registry()
  const common = { labelNames: ['stream'] as const, registers: [registry] }
  const counter = (name: string, help: string) => new Counter({ name: `myelin_sse_${name}_total`, help, ...common })
  const clients = new Gauge({ name: 'myelin_sse_clients', help: 'open event streams', ...common })
  const counters = {
    delivered: counter('delivered', 'events handed to sockets'),
    bytes: counter('bytes', 'bytes written, after compression'),
    dropped: counter('dropped', 'events that slow clients did not get'),
    slow: counter('slow_disconnects', 'clients disconnected because they did not keep up'),
  }
  const rejections = new Counter({
    name: 'myelin_sse_rejected_total',
    help: 'requests that were rejected, by error code',
    labelNames: ['code'],
    registers: [registry],
  })
  for (const topic of topics) {
    const labels = { stream: topic.name }
    clients.set(labels, topic.clients)
    for (const [name, metric] of Object.entries(counters)) metric.inc(labels, topic.counters[name as keyof Counters])
  }
  for (const [code, count] of Object.entries(rejected)) rejections.inc({ code }, count)
  return { type: registry.contentType, text: await registry.metrics() }
}
