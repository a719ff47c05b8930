// An object store (ADR-20): values too large for a message, in chunks. Every wait ends at its deadline, and what fails
// has a code: a full store, a lost connection and a store that is gone are different things.
import { createHash } from 'node:crypto'
import { nuid } from '@nats-io/nats-core'
import type { Bus } from './bus.ts'
import { now } from './clock.ts'
import { readJsonObject } from './codec.ts'
import { failure } from './errors.ts'
import { header, headerLine } from './headers.ts'
import { manager } from './jetstream/api.ts'
import { keepBelow, persistIn } from './jetstream/ensured.ts'
import { readSpan } from './jetstream/span.ts'
import { lastMessage } from './jetstream/stored.ts'
import type { StreamSpec } from './jetstream/streams.ts'
import { timerMs } from './timer.ts'

/** How long objects are kept, and how much of them. */
export interface ObjectsOptions {
  /** Objects are forgotten after this long. Default: never. */
  readonly ttlMs?: number
  /** All objects together: at most once a minute the oldest go. Default: no bound. */
  readonly maxBytes?: number
  readonly replicas?: number
  readonly description?: string
}

/** How long to wait for a store of objects. */
export interface ObjectWait {
  /** Absolute, in ms of `now()`. Default: 30 s from now. */
  readonly deadline?: number
  readonly signal?: AbortSignal | undefined
}

const chunkBytes = 128 * 1024

/** An object store, made when it is first written to. Objects can be read by any client of NATS' object stores. */
export class Objects {
  readonly name: string
  readonly #bus: Bus
  readonly #spec: StreamSpec
  readonly #maxBytes: number | undefined

  constructor(bus: Bus, name: string, { ttlMs, maxBytes, replicas, description }: ObjectsOptions = {}) {
    if (!/^[-\w]+$/.test(name))
      throw failure('INVALID_OPTION', `"${name}" cannot be an object store's name: letters, digits, - and _ only`)
    this.name = name
    this.#bus = bus
    this.#maxBytes = maxBytes
    this.#spec = {
      name: `OBJ_${name}`,
      subjects: [`$O.${name}.C.>`, `$O.${name}.M.>`],
      rollups: true,
      asItIs: true,
      ...(ttlMs === undefined ? {} : { maxAgeMs: ttlMs }),
      ...(replicas === undefined ? {} : { replicas }),
      ...(description === undefined ? {} : { description }),
    }
  }

  /** Stores an object, in place of an older one of its name. @throws MyelinError STREAM_FULL, DEADLINE_EXCEEDED, CANCELLED, … */
  async put(name: string, data: Uint8Array, wait: ObjectWait = {}): Promise<void> {
    const deadline = wait.deadline ?? now() + 30_000
    const id = nuid.next()
    const before = await this.#chunksOf(name)
    const size = Math.min(chunkBytes, this.#bus.maxPayloadBytes - 1_024)
    const chunks = Math.ceil(data.length / size)
    try {
      for (let i = 0; i < chunks; i++) {
        this.#check(name, wait)
        await this.#store(`$O.${this.name}.C.${id}`, data.subarray(i * size, (i + 1) * size), `${id}.${i}`, deadline)
      }
      const digest = `SHA-256=${createHash('sha256').update(data).digest('base64url')}`
      const mtime = new Date().toISOString()
      const options = { max_chunk_size: size }
      const meta = { name, bucket: this.name, nuid: id, size: data.length, chunks, digest, options, mtime }
      this.#check(name, wait)
      await this.#store(this.#metaSubject(name), Buffer.from(JSON.stringify(meta)), id, deadline, 'Nats-Rollup:sub\r\n')
    } catch (error) {
      void this.#forget(`$O.${this.name}.C.${id}`)
      throw error
    }
    if (before !== undefined) void this.#forget(before)
    if (this.#maxBytes !== undefined) void keepBelow(this.#bus, this.#spec.name, this.#maxBytes)
  }

  /** An object's data; undefined: there is none, or it is not whole any more. @throws MyelinError DEADLINE_EXCEEDED, … */
  async get(name: string, wait: ObjectWait = {}): Promise<Uint8Array | undefined> {
    const found = await this.#meta(name)
    if (!found) return undefined
    const parts: Uint8Array[] = []
    const subjects = [`$O.${this.name}.C.${found.nuid}`]
    const left = (wait.deadline ?? now() + 30_000) - now()
    const timeout = AbortSignal.timeout(Math.ceil(timerMs(Math.max(1, left))))
    const signal = wait.signal ? AbortSignal.any([wait.signal, timeout]) : timeout
    for await (const message of readSpan(this.#bus, this.#spec.name, { subjects, signal })) parts.push(message.data)
    this.#check(name, wait)
    if (timeout.aborted) throw failure('DEADLINE_EXCEEDED', `object ${this.name}/${name} was not read in time`)
    const data = Buffer.concat(parts)
    const digest = `SHA-256=${createHash('sha256').update(data).digest('base64url')}`
    // other clients pad their digests
    return digest === found.digest.replace(/=+$/, '') ? data : undefined
  }

  /** Removes an object; nothing happens if there is none. */
  async delete(name: string): Promise<void> {
    const chunks = await this.#chunksOf(name)
    if (chunks === undefined) return
    await this.#forget(this.#metaSubject(name))
    await this.#forget(chunks)
  }

  #check(name: string, { signal }: ObjectWait): void {
    if (signal?.aborted) throw failure('CANCELLED', `object ${this.name}/${name}: given up by the caller`)
  }

  #store(subject: string, data: Uint8Array, id: string, deadline: number, lines = ''): Promise<unknown> {
    const headerLines = headerLine(header.messageId, id) + lines
    return persistIn(this.#bus, this.#spec, subject, data, { deadline, headerLines, deduplicated: true })
  }

  async #meta(name: string): Promise<{ nuid: string; digest: string } | undefined> {
    const last = await lastMessage(this.#bus, this.#spec.name, this.#metaSubject(name))
    const meta = last && readJsonObject(last.data)
    if (typeof meta?.nuid !== 'string' || typeof meta.digest !== 'string' || meta.deleted === true) return undefined
    return { nuid: meta.nuid, digest: meta.digest }
  }

  /** The subject of an object's chunks. */
  async #chunksOf(name: string): Promise<string | undefined> {
    const meta = await this.#meta(name)
    return meta && `$O.${this.name}.C.${meta.nuid}`
  }

  /** Frees what lies on a subject; what cannot be freed now goes with its age. */
  async #forget(subject: string): Promise<void> {
    try {
      await (await manager(this.#bus)).streams.purge(this.#spec.name, { filter: subject })
    } catch {
      // not allowed, or not reachable
    }
  }

  #metaSubject(name: string): string {
    const encoded = Buffer.from(name).toString('base64').replaceAll('+', '-').replaceAll('/', '_')
    return `$O.${this.name}.M.${encoded}`
  }
}
