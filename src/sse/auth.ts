// Who may read what: a JWT in the Authorization header or a cookie, whose claims name the streams and, if it has any,
// the keys. Tokens are checked, never logged and never part of an error.
import type { IncomingHttpHeaders } from 'node:http'
import {
  createRemoteJWKSet,
  errors,
  importSPKI,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose'
import { failure } from '../bus/internal.ts'
import type { AuthConfig } from './config.ts'

/** What a token allows. */
export interface Grant {
  /** Only these keys; absent: all. */
  readonly keys?: readonly string[]
  /** When it ends, and the connection with it, unix ms. */
  readonly expiresAtMs?: number
}

/** Checks a request for a stream. @throws MyelinError UNAUTHENTICATED, FORBIDDEN */
export type Guard = (headers: IncomingHttpHeaders, stream: string) => Promise<Grant>

/** @throws MyelinError INVALID_CONFIG when the key cannot be read */
export async function guardOf(config: AuthConfig): Promise<Guard> {
  const { key, algorithms } = await keyOf(config)
  const options = {
    ...(algorithms ? { algorithms: [...algorithms] } : {}),
    ...(config.issuer === undefined ? {} : { issuer: config.issuer }),
    ...(config.audience === undefined ? {} : { audience: config.audience }),
    clockTolerance: config.clockToleranceMs / 1_000,
  }
  return async (headers, stream) => {
    const token = tokenOf(headers, config.cookie)
    if (token === undefined) {
      throw failure(
        'UNAUTHENTICATED',
        `stream ${stream} needs a token: Authorization: Bearer, or cookie ${config.cookie}`,
      )
    }
    const payload = await verified(token, key, options).catch((error) => {
      throw authFailure(error, config)
    })
    return grantOf(payload, stream, config.clockToleranceMs)
  }
}

/** The claims of a genuine token. One without `kid` may be signed by any of the issuer's keys, old or new. */
async function verified(token: string, key: JWTVerifyGetKey, options: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, key, options)).payload
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    let last: unknown = error
    for await (const candidate of error) {
      try {
        return (await jwtVerify(token, candidate, options)).payload
      } catch (next) {
        if (!(next instanceof errors.JWSSignatureVerificationFailed)) throw next
        last = next
      }
    }
    throw last
  }
}

async function keyOf(config: AuthConfig): Promise<{ key: JWTVerifyGetKey; algorithms: readonly string[] | undefined }> {
  const { secret, publicKey, jwksUrl } = config
  if (jwksUrl !== undefined) {
    const key = createRemoteJWKSet(new URL(jwksUrl), { cooldownDuration: config.jwksCooldownMs })
    return { key, algorithms: config.algorithms }
  }
  if (secret !== undefined) {
    const bytes = new TextEncoder().encode(secret)
    return { key: async () => bytes, algorithms: config.algorithms ?? ['HS256'] }
  }
  const algorithms = config.algorithms ?? ['RS256']
  const key = await importSPKI(publicKey!, algorithms[0]!).catch((cause) => {
    throw failure('INVALID_CONFIG', `config.auth.publicKey is no PEM (SPKI) key for ${algorithms[0]}`, { cause })
  })
  return { key: async () => key, algorithms: [algorithms[0]!] }
}

function tokenOf(headers: IncomingHttpHeaders, cookie: string): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
  if (bearer !== undefined) return bearer
  for (const pair of (headers.cookie ?? '').split(';')) {
    const at = pair.indexOf('=')
    if (at > 0 && pair.slice(0, at).trim() === cookie) return pair.slice(at + 1).trim()
  }
  return undefined
}

/** Says what is wrong with a token, and nothing of what is in it. */
function authFailure(error: unknown, { clockToleranceMs }: AuthConfig) {
  const unauthenticated = (why: string) => failure('UNAUTHENTICATED', why)
  if (error instanceof errors.JWTExpired) return unauthenticated('the token has expired')
  if (error instanceof errors.JWTClaimValidationFailed) {
    return error.claim === 'nbf' || error.claim === 'iat'
      ? unauthenticated(
          `the token is not valid yet; the clocks of its issuer and of this host may differ by ${clockToleranceMs} ms (clockToleranceMs)`,
        )
      : unauthenticated(`the token's claim "${error.claim}" is not what it must be`)
  }
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return unauthenticated('the token is signed with a key that its issuer does not publish')
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return unauthenticated('the token is signed by an algorithm that is not allowed here')
  }
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return unauthenticated("the token's signature is not genuine")
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) {
    return unauthenticated('what was sent is no token (JWT)')
  }
  const ofIssuer = error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid
  // what jose has no class for is an answer of the issuer that is no key set
  if (ofIssuer || !(error instanceof errors.JOSEError) || error.code === 'ERR_JOSE_GENERIC') {
    return failure('OVERLOADED', "the issuer's keys cannot be had now, so no token can be checked", { cause: error })
  }
  return failure('UNAUTHENTICATED', 'the token is not genuine')
}

function grantOf(payload: JWTPayload, stream: string, clockToleranceMs: number): Grant {
  const streams = textsOf(payload.streams)
  if (!streams?.some((pattern) => covers(pattern, stream))) {
    throw failure('FORBIDDEN', `the token does not allow stream ${stream}`)
  }
  const keys = payload.keys === undefined ? undefined : textsOf(payload.keys)
  if (payload.keys !== undefined && keys === undefined)
    throw failure('FORBIDDEN', 'the claim "keys" is no list of texts')
  return {
    ...(keys === undefined ? {} : { keys }),
    ...(payload.exp === undefined ? {} : { expiresAtMs: payload.exp * 1_000 + clockToleranceMs }),
  }
}

function textsOf(claim: unknown): readonly string[] | undefined {
  return Array.isArray(claim) && claim.every((one) => typeof one === 'string') ? claim : undefined
}

/** As subjects are matched: `*` is one token, `>` is the rest. */
function covers(pattern: string, name: string): boolean {
  const wanted = pattern.split('.')
  const tokens = name.split('.')
  for (const [i, token] of wanted.entries()) {
    if (token === '>') return tokens.length > i
    if (tokens[i] === undefined || (token !== '*' && token !== tokens[i])) return false
  }
  return tokens.length === wanted.length
}
