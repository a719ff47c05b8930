import { describe, expect, it } from 'vitest'
import { failure } from './errors.ts'
import { redact, redactText } from './redact.ts'

const secret = '[secret]'

describe('what must not be shown', () => {
  it('is found by the names of keys, in the plural and at any depth', () => {
    const shown = redact({
      tokens: ['a', 'b'],
      password: { value: 'p', salt: 's' },
      db: [{ replicas: { adminPassword: 'p', DB_PASSWD: 'p', api_key: 'k', apiKeys: { one: 'k' } } }],
      'x-auth-token': 't',
      accesstoken: 't',
      clientSecret: 's',
      credentials: { user: 'u' },
      pin: 1234,
    })
    expect(shown).toEqual({
      tokens: secret,
      password: secret,
      db: [{ replicas: { adminPassword: secret, DB_PASSWD: secret, api_key: secret, apiKeys: secret } }],
      'x-auth-token': secret,
      accesstoken: secret,
      clientSecret: secret,
      credentials: secret,
      pin: secret,
    })
  })

  it('is found in addresses, connection strings and JSON, and by what keys and tokens look like', () => {
    const shown = {
      'postgres://ada:hunter2@db.example/orders': `postgres://${secret}@db.example/orders`,
      'cannot reach nats://a:p@ss@host:4222, tried 2 times': `cannot reach nats://${secret}@host:4222, tried 2 times`,
      'https://host/path?token=abc&page=2': `https://host/path?token=${secret}&page=2`,
      'host=db password=hunter2 user=ada': `host=db password=${secret} user=ada`,
      '{"api_key": "abc", "page": "2"}': `{"api_key": "${secret}", "page": "2"}`,
      '-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----': secret,
      [`seed SU${'A'.repeat(56)} is wrong`]: `seed ${secret} is wrong`,
      'Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln': `Bearer ${secret}`,
    }
    expect(Object.keys(shown).map(redactText)).toEqual(Object.values(shown))
    expect(redact({ servers: ['nats://a:b@host'] })).toEqual({ servers: [`nats://${secret}@host`] })
    expect(failure('INTERNAL', 'no answer from redis://:pw@cache').message).toBe(
      `no answer from redis://${secret}@cache`,
    )
  })

  it('is looked for in any text in the time that reading it takes', () => {
    const unit = [
      'x',
      'a_',
      'a.',
      'a-',
      'eyJ-',
      '"a',
      '"token',
      'a://',
      '://a.',
      'token=',
      '-----BEGIN PRIVATE KEY-----',
    ]
    const began = performance.now()
    for (const part of unit) {
      for (const around of ['', '"', '": ', '=', '://', '"token": "']) {
        redactText(`":="://${around}${part.repeat(10_000 / part.length)}${around}`)
      }
    }
    expect(performance.now() - began).toBeLessThan(3_000)
  })

  it('is not what only says where a secret is, nor what is none', () => {
    const fine = {
      password: { secret: 'env:DB_PASSWORD' },
      tls: { secret: 'file:/run/secrets/key' },
      key: 'origin',
      keys: ['a'],
      token: 7,
      tokens: null,
      secret: false,
      url: 'https://example.com/a@b',
      mail: 'ada@example.com',
      monkey: 'm',
    }
    expect(redact(fine)).toEqual(fine)
  })

  it('takes any value without failing', () => {
    const date = new Date(0)
    const deep: Record<string, unknown> = {}
    let inner = deep
    for (let i = 0; i < 10_000; i++) inner = inner.deeper = {} as Record<string, unknown>
    const circle: Record<string, unknown> = {}
    circle.self = circle
    expect(redact([date, 1n, undefined, null, Number.NaN])).toEqual([date, 1n, undefined, null, Number.NaN])
    expect(() => [redact(deep), redact(circle)]).not.toThrow()
  })
})
