// Which fields of a payload may be an event's `key` or a job's `unique`: a name that is no field, or a field whose values
// cannot be part of a subject, does not compile. (At run time, sending such a payload is an INVALID_INPUT.)
import type { ContractDefinition, InputOf, Schema } from './definition.ts'

/** What a part of a subject can be made of; see `subjectToken`. */
type Token = string | number | bigint

/** Fields that every payload of a schema has, of values that fit into a subject; any name where the type is not known. */
export type TokenField<S extends Schema> = unknown extends InputOf<S> ? string : TokenFieldOf<InputOf<S>>

type TokenFieldOf<Payload> = {
  [Field in keyof Payload & string]-?: unknown extends Payload[Field]
    ? Field
    : [Extract<Payload[Field], Token>] extends [never]
      ? never
      : Field
}[keyof Payload & string]

type Named<Item, Part extends 'key' | 'unique'> = Item extends { readonly payload: infer S extends Schema } & Readonly<
  Record<Part, infer Name>
>
  ? string extends Name // data that was made elsewhere, whose names the compiler does not know
    ? unknown
    : Readonly<Record<Part, TokenField<S>>>
  : unknown

type NamedIn<Items, Part extends 'key' | 'unique'> = { readonly [Name in keyof Items]: Named<Items[Name], Part> }

/** A definition whose `key` and `unique` are fields of their payloads. */
export type FieldsOfPayloads<Definition extends ContractDefinition> = (Definition extends {
  readonly events: infer Events
}
  ? { readonly events: NamedIn<Events, 'key'> }
  : unknown) &
  (Definition extends { readonly jobs: infer Jobs } ? { readonly jobs: NamedIn<Jobs, 'unique'> } : unknown)
