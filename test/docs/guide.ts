// What the blocks of the guide leave out.
import type { Bus } from 'myelin/bus'
import { contract } from 'myelin/contract'
import type { Middleware } from 'myelin/service'
import type { Rows, Stream, ViewReader } from 'myelin/stream'
import { z } from 'zod'
import type { DelayHour } from '../../examples/airline/contracts/delays.ts'
import type { Flight } from '../../examples/airline/contracts/flights.ts'
import type { Closure, loadAirports } from './readme.ts'

export { DelayHour, delays } from '../../examples/airline/contracts/delays.ts'
export { Flight, flights } from '../../examples/airline/contracts/flights.ts'
export { rebooking } from '../../examples/airline/contracts/rebooking.ts'
export { airports } from './readme.ts'

export const weather = contract('weather', {
  version: '1.0.0',
  events: { storm: { payload: z.object({ at: z.string() }), durable: true } },
})
export const orders = contract('orders', {
  version: '1.0.0',
  endpoints: { get: { in: z.object({ id: z.string() }), out: z.object({ factor: z.number() }) } },
})
export type Order = { factor: number }
export type Gate = { open: boolean }

export declare const bus: Bus
export declare const signal: AbortSignal
export declare const closure: z.infer<typeof Closure>
export declare const flight: Flight
export declare const list: readonly Flight[]
export declare const hours: ViewReader<DelayHour>
export declare const timing: Middleware
export declare const load: typeof loadAirports
export declare function show(...shown: unknown[]): void
export declare function openDatabase(): Promise<{
  readonly size: number
  readonly pool: { ping(): Promise<true | string> }
  order(id: string): Order
}>
export declare const program: (departed: Stream<Flight>) => Rows<Omit<DelayHour, 'origin'>>
