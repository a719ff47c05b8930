// Middleware of a service: around every call, job and event that it handles.
import type { HandlerContext } from './context.ts'

/** What is being handled. `input` was parsed by the contract's schema. */
export interface Handled {
  readonly kind: 'call' | 'job' | 'event'
  /** Name of the endpoint, job or event. */
  readonly name: string
  readonly input: unknown
  // biome-ignore lint/suspicious/noExplicitAny: a middleware serves services of any state and configuration
  readonly context: HandlerContext<any, any>
}

/** @example const timed: Middleware = async ({ name }, next) => { const t = performance.now(); try { return await next() } finally { log(name, performance.now() - t) } } */
export type Middleware = (handled: Handled, next: () => Promise<unknown>) => Promise<unknown>

/** A handler with its middleware around it. */
export type Handle = (input: unknown, context: HandlerContext) => unknown

/** Outermost first. Without middleware the handler itself, so that it may answer in the same turn. */
export function withMiddleware(
  kind: Handled['kind'],
  name: string,
  middleware: readonly Middleware[],
  handler: Handle,
): Handle {
  return middleware.reduceRight<Handle>(
    (inner, around) => (input, context) => around({ kind, name, input, context }, async () => inner(input, context)),
    handler,
  )
}

/** Whether to wait for what a handler returned: promises, and query builders that run when they are awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as Partial<PromiseLike<unknown>>).then === 'function'
  )
}
