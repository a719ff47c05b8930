// Where a program meets contracts: durable events come in, jobs go out.
import { type Bus, failure } from '../bus/index.ts'
import {
  type Contract,
  type ContractDefinition,
  eventStream,
  type InputOf,
  type JobDefinition,
  type OutputOf,
  type Schema,
} from '../contract/index.ts'
import { client, ensureContractStreams, type JobClient } from '../service/index.ts'
import type { Effect } from './effects.ts'

/** What a processor reads. */
export interface Source<T> {
  readonly stream: string
  readonly schema: Schema
  /** Makes sure that the stream exists. */
  ensure(bus: Bus): Promise<void>
  /** @internal carries the payload's type */
  readonly payload?: T
}

type Events<Definition extends ContractDefinition> = NonNullable<Definition['events']>
type Jobs<Definition extends ContractDefinition> = NonNullable<Definition['jobs']>
type PayloadOf<Item> = Item extends { payload: infer S } ? S : never

/** A durable event of a contract as a processor's input. @throws MyelinError INVALID_OPTION when it is not durable */
export function event<Definition extends ContractDefinition, Name extends keyof Events<Definition> & string>(
  contract: Contract<Definition>,
  name: Name,
): Source<OutputOf<PayloadOf<Events<Definition>[Name]>>> {
  const definition = contract.definition.events?.[name]
  if (!definition?.durable) {
    throw failure(
      'INVALID_OPTION',
      `event ${contract.name}.${name}: a processor reads durable events only; declare it durable`,
    )
  }
  return {
    stream: eventStream(contract.name, name),
    schema: definition.payload,
    ensure: (bus) => ensureContractStreams(bus, contract),
  }
}

/**
 * A job of a contract as an effect: each value becomes a job. `id` makes it the same job however often it is put in (the
 * queue's deduplication window is two minutes: an instance that comes back later than that after a crash may repeat the
 * jobs since its last checkpoint, about a second's worth).
 */
export function job<
  Definition extends ContractDefinition,
  Name extends keyof Jobs<Definition> & string,
  T extends InputOf<PayloadOf<Jobs<Definition>[Name]>>,
>(contract: Contract<Definition>, name: Name, options: { id: (value: T) => string }): Effect<T> {
  return {
    name: `job ${contract.name}.${name}`,
    open({ bus }) {
      const queue = client(bus, contract)[name] as unknown as JobClient<JobDefinition>
      return async (value) => {
        const { duplicate } = await queue.enqueue(value, { id: options.id(value) })
        return { duplicate }
      }
    },
  }
}
