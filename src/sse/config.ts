// The gateway's configuration, as a schema: what it says of itself is in the guide too.
import { z } from 'zod'

const Auth = z
  .object({
    secret: z.string().min(32).optional().describe('for HS256, 32 characters or more'),
    publicKey: z.string().optional().describe('PEM (SPKI), for RS256, ES256, EdDSA…'),
    jwksUrl: z.url().optional().describe('where the issuer publishes its keys'),
    algorithms: z.array(z.string()).min(1).optional().describe('allowed; with publicKey the first one is used'),
    issuer: z.string().optional().describe('the `iss` that a token must have'),
    audience: z.string().optional().describe('the `aud` that a token must have'),
    clockToleranceMs: z
      .number()
      .int()
      .min(0)
      .max(300_000)
      .default(5_000)
      .describe("how far the issuer's clock may be off"),
    jwksCooldownMs: z
      .number()
      .int()
      .min(0)
      .default(5_000)
      .describe('with jwksUrl: an unknown key makes the keys be fetched again, at most this often'),
    cookie: z.string().default('myelin_token').describe('the cookie that browsers send the token in'),
  })
  .refine(({ secret, publicKey, jwksUrl }) => [secret, publicKey, jwksUrl].filter(Boolean).length === 1, {
    message: 'give exactly one of secret, publicKey, jwksUrl',
  })
export type AuthConfig = z.output<typeof Auth>

const milliseconds = z.number().int().positive()
const count = z.number().int().positive()

export const Config = z
  .object({
    port: z.number().int().min(0).max(65_535).default(4280).describe('HTTP port; 0: a free one'),
    host: z.string().default('127.0.0.1').describe('address to listen on'),
    tls: z
      .object({ certFile: z.string(), keyFile: z.string() })
      .optional()
      .describe('PEM files: HTTPS, with HTTP/2 for clients that offer it'),
    maxClients: count.default(10_000).describe('more are rejected with 503'),
    maxClientsPerAddress: count.optional().describe('more from one address are rejected with 429'),
    trustProxy: z.boolean().default(false).describe('the address is what X-Forwarded-For says'),
    maxBuffered: count.default(1_000).describe('events that wait for one slow client'),
    maxBufferedBytes: count.default(4 * 1024 ** 2).describe('bytes that wait for one slow client'),
    stuckMs: milliseconds.default(60_000).describe('a client whose socket takes nothing for so long is disconnected'),
    heartbeatMs: milliseconds.default(15_000).describe('comment lines on quiet connections'),
    retryMs: milliseconds.default(1_000).describe('when a browser comes back after a lost connection, ± 25 %'),
    requestMs: milliseconds.default(10_000).describe('a request that is not complete after so long is ended'),
    idleMs: milliseconds.default(30_000).describe('a connection without an event stream is closed after so long'),
    gzip: z.boolean().default(true).describe('compress for clients that accept it'),
    cors: z
      .union([z.string(), z.array(z.string())])
      .optional()
      .describe("allowed origins, '*' for any; absent: same origin only"),
    corsCredentials: z.boolean().default(false).describe('other origins may send cookies'),
    auth: Auth.optional().describe('who may read what; absent: everybody everything'),
    drainMs: z.number().int().min(0).default(0).describe('when stopped: answer 503 for so long before the port closes'),
    moveTo: z.url().optional().describe('when stopped: the address of the gateway that clients are sent to'),
    metrics: z.boolean().default(true).describe('GET /metrics for Prometheus'),
  })
  .refine(({ cors, corsCredentials }) => !corsCredentials || (cors !== undefined && ![cors].flat().includes('*')), {
    path: ['corsCredentials'],
    message: "name the origins in cors: with '*' any page could read with its visitor's cookies",
  })
export type Config = z.output<typeof Config>
