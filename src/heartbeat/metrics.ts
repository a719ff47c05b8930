// What instances do, in Prometheus' text format: of this runner in detail, of the fleet as beats tell it.
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { EndpointMetrics, Vitals } from '../unit/internal.ts'
import type { CheckResult } from './beat.ts'
import { conditionOf, type Fleet } from './fleet.ts'
import type { Observed } from './http.ts'

const labelNames = ['site', 'unit', 'instance'] as const
type Labels = Record<(typeof labelNames)[number], string>

/** Gauges of prom-client that are named like counters, which `promtool check metrics` refuses; others say the same. */
const misnamed = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total']

/** Node's own: memory, event loop, garbage collection. */
export function processMetrics(): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const name of misnamed) registry.removeSingleMetric(name)
  return registry
}

/** The metrics that this runner and the fleet share. */
class InstanceMetrics {
  readonly registry = new Registry()
  readonly #common = { labelNames, registers: [this.registry] }
  readonly #ready = this.gauge('ready', '1 when it is ready')
  readonly #handled = this.counter('handled', 'work done since its start')
  readonly #errors = this.counter('errors', 'failures since its start')
  readonly #deadLetters = this.counter('dead_letters', 'jobs and events given up since its start')
  readonly #inFlight = this.gauge('in_flight', 'work under way')
  readonly #lag = this.gauge('lag', 'input stored and not yet read')
  readonly #checks = new Gauge({
    name: 'myelin_check_ok',
    help: '1 when the health check is fine, 0.5 when degraded',
    labelNames: [...labelNames, 'check'],
    registers: [this.registry],
  })

  gauge(name: string, help: string): Gauge<keyof Labels> {
    return new Gauge({ name: `myelin_instance_${name}`, help, ...this.#common })
  }
  counter(name: string, help: string): Counter<keyof Labels> {
    return new Counter({ name: `myelin_instance_${name}_total`, help, ...this.#common })
  }

  set(labels: Labels, ready: boolean, vitals: Vitals, checks: readonly CheckResult[]): void {
    const { handled, errors, deadLetters, inFlight, lag } = vitals
    this.#ready.set(labels, ready ? 1 : 0)
    count(this.#handled, labels, handled)
    count(this.#errors, labels, errors)
    count(this.#deadLetters, labels, deadLetters)
    measure(this.#inFlight, labels, inFlight)
    measure(this.#lag, labels, lag)
    for (const { name, status } of checks) {
      this.#checks.set({ ...labels, check: name }, status === 'ok' ? 1 : status === 'degraded' ? 0.5 : 0)
    }
  }
}

/** What others say of themselves may be no number, or less than nothing. */
function count(counter: Counter<keyof Labels>, labels: Labels, value: number | undefined): void {
  if (Number.isFinite(value) && value! >= 0) counter.inc(labels, value)
}

function measure(gauge: Gauge<keyof Labels>, labels: Labels, value: number | undefined): void {
  if (Number.isFinite(value)) gauge.set(labels, value!)
}

/** The instances of this runner. */
export async function runnerMetrics(instances: readonly Observed[]): Promise<string> {
  const metrics = new InstanceMetrics()
  const restarts = metrics.counter('restarts', 'how often its runner started it again')
  const endpoints: [Labels, EndpointMetrics][] = []
  for (const one of instances) {
    const labels = { site: one.site, unit: one.unit, instance: one.instance }
    metrics.set(labels, one.state === 'ready', one.vitals, one.checks)
    count(restarts, labels, one.restarts)
    for (const endpoint of one.metrics?.endpoints ?? []) endpoints.push([labels, endpoint])
  }
  const names = [...labelNames, 'endpoint'] as const
  const errors = new Counter({
    name: 'myelin_endpoint_errors_total',
    help: 'calls that failed since its start',
    labelNames: names,
    registers: [metrics.registry],
  })
  for (const [labels, { name, errors: failed }] of endpoints) errors.inc({ ...labels, endpoint: name }, failed)
  return (await metrics.registry.metrics()) + histogramText(endpoints)
}

/** Everybody who beats. */
export function fleetMetrics(watching: Fleet): Promise<string> {
  const metrics = new InstanceMetrics()
  const up = metrics.gauge('up', '1 when it beats, 0 when it is suspect or dead')
  const silent = metrics.gauge('silent_seconds', 'since its last beat')
  const loop = metrics.gauge('loop_delay_p99_seconds', 'how late its event loop is')
  const memory = metrics.gauge('resident_bytes', 'memory of its process')
  const cpu = metrics.gauge('cpu', 'share of a core its process uses')
  for (const member of watching.list()) {
    if (member.status === 'left') continue
    const { site, unit, instance, vitals, checks } = member.beat
    const labels = { site, unit, instance }
    metrics.set(labels, conditionOf(member) === 'ready', vitals, checks)
    up.set(labels, member.status === 'alive' ? 1 : 0)
    silent.set(labels, member.silentMs / 1_000)
    // beats from other languages tell what they have
    measure(loop, labels, vitals.loopDelayP99Ms === undefined ? undefined : vitals.loopDelayP99Ms / 1_000)
    measure(memory, labels, vitals.rssBytes)
    measure(cpu, labels, vitals.cpu)
  }
  return metrics.registry.metrics()
}

/** Counted where calls are served, in an array: a histogram of prom-client would cost them an object each. */
function histogramText(endpoints: readonly (readonly [Labels, EndpointMetrics])[]): string {
  if (endpoints.length === 0) return ''
  const name = 'myelin_endpoint_duration_seconds'
  const lines = [`# HELP ${name} how long calls took since its start`, `# TYPE ${name} histogram`]
  for (const [labels, { name: endpoint, totalMs, boundsMs, counts }] of endpoints) {
    const labelTexts = Object.entries({ ...labels, endpoint }).map(([label, value]) => `${label}="${escaped(value)}"`)
    let sum = 0
    counts.forEach((calls, range) => {
      sum += calls
      const bound = boundsMs[range]
      lines.push(`${name}_bucket{${labelTexts},le="${bound === undefined ? '+Inf' : bound / 1_000}"} ${sum}`)
    })
    lines.push(`${name}_sum{${labelTexts}} ${totalMs / 1_000}`, `${name}_count{${labelTexts}} ${sum}`)
  }
  return `${lines.join('\n')}\n`
}

/** As the text format wants it, so that no name ends its label. */
const escaped = (value: string) => value.replace(/[\\"\n]/g, (char) => (char === '\n' ? '\\n' : `\\${char}`))
