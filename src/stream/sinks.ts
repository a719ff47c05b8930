// Where values go besides views: jobs, events, buckets, objects. At least once, each with an id or in a way that makes
// a repetition harmless.
import {
  boundedText,
  failure,
  MyelinError,
  messageOf,
  Objects,
  bucket as openBucket,
  parseTime,
  timeForm,
} from '../bus/internal.ts'
import type { Contract, ContractDefinition, InputOf, JobDefinition } from '../contract/internal.ts'
import { client, type EventClient, type JobClient } from '../service/index.ts'
import type { Effect } from './effects.ts'
import { jsonBytes } from './json.ts'
import type { KeyedRow } from './program/index.ts'

type Jobs<Definition extends ContractDefinition> = NonNullable<Definition['jobs']>
type Events<Definition extends ContractDefinition> = NonNullable<Definition['events']>
type PayloadOf<Item> = Item extends { payload: infer S } ? S : never

/**
 * A job of a contract as an effect: each value becomes a job. `id` makes it the same job however often it is put in (the
 * queue's deduplication window is two minutes: an instance that comes back later than that after a crash may repeat the
 * jobs since its last checkpoint, about a second's worth).
 */
export function job<
  Definition extends ContractDefinition,
  Name extends keyof Jobs<Definition> & string,
  T extends InputOf<PayloadOf<Jobs<Definition>[Name]>>,
>(contract: Contract<Definition>, name: Name, options: { id?: (value: T) => string } = {}): Effect<T> {
  return {
    name: `job ${contract.name}.${name}`,
    open({ bus }) {
      const queue = client(bus, contract)[name] as unknown as JobClient<JobDefinition>
      return async (value, id, _signal, trace) => {
        const own = read('id', () => options.id?.(value))
        try {
          const { duplicate } = await queue.enqueue(value, { id: own ?? id, trace })
          return { duplicate }
        } catch (error) {
          // one with its unique key is there: that is what was wanted
          if (error instanceof MyelinError && error.code === 'ALREADY_QUEUED') return { duplicate: true }
          throw error
        }
      }
    },
  }
}

/**
 * An event of a contract as an effect: each value is published. Of a durable event none is stored twice, as long as an
 * instance that crashed comes back within the event's deduplication window. `time`: when it happened (`ce-time`).
 */
export function publish<
  Definition extends ContractDefinition,
  Name extends keyof Events<Definition> & string,
  T extends InputOf<PayloadOf<Events<Definition>[Name]>>,
>(contract: Contract<Definition>, name: Name, options: { time?: (value: T) => Date | string } = {}): Effect<T> {
  return {
    name: `event ${contract.name}.${name}`,
    open({ bus }) {
      const api = client(bus, contract)[name] as unknown as EventClient<Events<Definition>[Name]>
      return async (value, id, _signal, trace) => {
        const time = read('time', () => options.time?.(value))
        if (time !== undefined && parseTime(time) === undefined) {
          throw failure(
            'INVALID_INPUT',
            `event ${contract.name}.${name}: time: ${shown(String(time))} is no time; it needs ${timeForm}`,
          )
        }
        const stored = await api.publish(value, { id, trace, ...(time === undefined ? {} : { time }) })
        return { duplicate: (stored as { duplicate?: boolean } | undefined)?.duplicate === true }
      }
    },
  }
}

/**
 * A key-value bucket as an effect on rows: the latest row of each key. Puts carry ids, so that a crash does not let the
 * bucket go back in time for longer than its deduplication window of two minutes. The bucket is made when it is missing.
 */
export function bucket<Row>(name: string): Effect<KeyedRow<Row>> {
  return {
    name: `bucket ${name}`,
    open({ bus }) {
      const opened = reopening(() => openBucket<Row>(bus, name, { copies: true }))
      opened().catch(() => undefined) // each put reports it
      return async ({ key, row }, id) => {
        jsonBytes(`bucket ${name}: the row of "${key}"`, row)
        const { duplicate } = await (await opened()).putOnce(key, row, id, { timeoutMs: 30_000 })
        return { duplicate }
      }
    },
  }
}

/**
 * An object store as an effect on rows: an object of JSON per key, for results too large for a message. Made when missing.
 */
export function objects<Row>(name: string): Effect<KeyedRow<Row>> {
  return {
    name: `objects ${name}`,
    open({ bus }) {
      const store = new Objects(bus, name)
      return async ({ key, row }) => {
        checkLength(`objects ${name}`, key)
        await store.put(key, jsonBytes(`objects ${name}: the row of "${key}"`, row))
        return undefined
      }
    },
  }
}

/** Opens once; after a failure the next one who asks opens anew. */
function reopening<Opened>(open: () => Promise<Opened>): () => Promise<Opened> {
  let opened: Promise<Opened> | undefined
  return () => {
    opened ??= open().catch((error) => {
      opened = undefined
      throw error
    })
    return opened
  }
}

/** What the program's own functions throw is a matter of the value: trying it again would bring the same. */
function read<Value>(what: string, of: () => Value): Value {
  try {
    return of()
  } catch (cause) {
    throw failure('INVALID_INPUT', `${what}: ${messageOf(cause)}`, { cause })
  }
}

// a name is in a subject, and a server takes lines of 4,096 bytes at most
function checkLength(where: string, key: string): void {
  const bytes = Buffer.byteLength(key)
  if (bytes > 1_024) throw failure('INVALID_INPUT', `${where}: a key of ${bytes} bytes; 1,024 at most`)
}

const shown = (text: string) => JSON.stringify(boundedText(text, 60))
