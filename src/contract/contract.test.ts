import { expect, it } from 'vitest'
import { MyelinError } from '../bus/internal.ts'
import { controlEvents } from '../control/index.ts'
import { fleetEvents } from '../heartbeat/index.ts'
import { contract } from './internal.ts'

it('keeps the names that begin like streams of the library itself', () => {
  for (const name of ['es_orders', 'store_x', 'db_main', 'DB_main']) {
    expect(() => contract(name, { version: '1.0.0' })).toThrow(MyelinError)
    expect(() => contract(name, { version: '1.0.0' })).toThrow(/begin with \w+_ are kept/)
  }
  for (const name of ['es', 'store', 'database', 'my_store_x'])
    expect(contract(name, { version: '1.0.0' }).name).toBe(name)
})

it('keeps the names of contracts that the library publishes its own events under', () => {
  for (const name of [fleetEvents.name, controlEvents.name, 'myelin']) {
    expect(() => contract(name, { version: '1.0.0' })).toThrow(
      expect.objectContaining({ code: 'INVALID_CONTRACT', message: expect.stringContaining(`${name}-service`) }),
    )
  }
  for (const name of ['fleets', 'fleet-service', 'Control'])
    expect(contract(name, { version: '1.0.0' }).name).toBe(name)
})
