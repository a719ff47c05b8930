// What two sides of a contract must agree on, as plain JSON: the form in which versions are compared. A contract, an
// AsyncAPI document made from one, and what a running service says of itself all come to this form.
import { isStream } from '../contract.ts'
import type { Contract, Durable, Schema } from '../definition.ts'
import { jsonSchemaOf } from '../json-schema.ts'

/** A JSON Schema, and the document that its `$ref`s begin at. */
export interface SchemaIn {
  readonly schema: unknown
  readonly root: unknown
}

export interface EndpointShape {
  readonly request: SchemaIn | undefined
  readonly reply: SchemaIn | undefined
  readonly streamed: boolean
  readonly idempotent: boolean
  readonly claimCheck: boolean
  /** The schema of each error's data, where it is known. */
  readonly errors: Readonly<Record<string, SchemaIn | undefined>>
}

export interface EventShape {
  readonly payload: SchemaIn | undefined
  readonly key: string | undefined
  readonly durable: Durable | undefined
}

export interface JobShape {
  readonly payload: SchemaIn | undefined
  readonly unique: string | undefined
}

export interface ContractShape {
  readonly name: string
  readonly version: string
  readonly endpoints: Readonly<Record<string, EndpointShape>>
  readonly events: Readonly<Record<string, EventShape>>
  readonly jobs: Readonly<Record<string, JobShape>>
}

/** The shape of a contract; schemas of libraries that tell no JSON Schema are `undefined`. */
export function shapeOf({ name, definition }: Contract): ContractShape {
  const { version, endpoints = {}, events = {}, jobs = {} } = definition
  return {
    name,
    version,
    endpoints: mapped(endpoints, ({ in: request, out, errors = {}, idempotent, claimCheck }) => ({
      request: alone(request),
      reply: alone(isStream(out) ? out.stream : out),
      streamed: isStream(out),
      idempotent: idempotent === true,
      claimCheck: claimCheck === true,
      errors: mapped(errors, alone),
    })),
    events: mapped(events, ({ payload, key, durable }) => ({
      payload: alone(payload),
      key,
      durable: durable === true ? {} : durable,
    })),
    jobs: mapped(jobs, ({ payload, unique }) => ({ payload: alone(payload), unique })),
  }
}

function alone(schema: Schema): SchemaIn | undefined {
  const found = jsonSchemaOf(schema)
  return found && { schema: found, root: found }
}

const mapped = <From, To>(of: Readonly<Record<string, From>>, to: (value: From) => To): Record<string, To> =>
  Object.fromEntries(Object.entries(of).map(([name, value]) => [name, to(value)]))
