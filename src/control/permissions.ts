// The shipped permission set: who may say what on the control plane, for nats-server's configuration or user JWTs.
import { bucketStream, failure, nameOf } from '../bus/internal.ts'

export interface Permissions {
  readonly publish: { readonly allow?: readonly string[]; readonly deny?: readonly string[] }
  readonly subscribe: { readonly allow?: readonly string[]; readonly deny?: readonly string[] }
}

export interface PermissionOptions {
  /**
   * The user's name: replies go to subjects of its own, `_INBOX_<user>.>`, which nobody else can hear. Connect with
   * `inboxPrefix: '_INBOX_<user>'` (or `NATS_INBOX_PREFIX`). Without it, users of `_INBOX.>` can hear each other's.
   */
  readonly user?: string
  /** For `unit`: the names of the units, whose commands alone it can hear. Default: all. */
  readonly units?: readonly string[]
  /** For `unit`: subjects of your own that its code subscribes to, besides those of Myelin. */
  readonly subjects?: readonly string[]
}

const buckets = ['DESIRED', 'LEASES', 'ROLLOUTS'].map((word) => nameOf('bucket', word))
const beats = nameOf('beats')

const api = (verbs: readonly string[], streams: readonly string[]) =>
  streams.flatMap((stream) => verbs.map((verb) => `$JS.API.STREAM.${verb}.${stream}`))
/** Making, changing or emptying a stream says as much as writing there; so does making it before anybody else does. */
const ruling = api(['CREATE', 'UPDATE', 'PURGE', 'MSG.DELETE'], [...buckets.map(bucketStream), nameOf('audit')])
/** What all units share: each may write its own keys and beats there, and do nothing to the whole. */
const shared = api(['UPDATE', 'PURGE', 'MSG.DELETE'], [beats, bucketStream(nameOf('bucket', 'PARTITIONS'))])
/** Nobody's but an operator's: streams as a whole, copies of them, who leads, the account. */
const operating = [
  ...api(['DELETE', 'RESTORE', 'SNAPSHOT', 'LEADER.STEPDOWN', 'PEER.REMOVE', 'CANCEL_MOVE'], ['*']),
  '$JS.API.CONSUMER.LEADER.STEPDOWN.>',
  ...['META', 'SERVER', 'ACCOUNT'].map((what) => `$JS.API.${what}.>`),
]
/** What only controllers need to read: configurations, and with them whatever secrets they hold in clear. */
const unread = [
  ...buckets.filter((name) => name !== nameOf('bucket', 'DESIRED')).map(bucketStream),
  nameOf('audit'),
].flatMap((stream) => [
  `$JS.API.STREAM.MSG.GET.${stream}`,
  `$JS.API.DIRECT.GET.${stream}`,
  `$JS.API.DIRECT.GET.${stream}.>`,
  `$JS.API.CONSUMER.CREATE.${stream}`,
  `$JS.API.CONSUMER.CREATE.${stream}.>`,
  `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.>`,
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.>`,
])
/** What units subscribe to; a subscription to `>` would hear everybody's replies. */
const heard = ['svc', 'evt', 'job', 'dlq', 'redrive', 'view', 'in', 'bad', 'proc', 'beat', 'log', '$SRV']

/**
 * Permissions of a role, in the form of nats-server's `permissions`. What they leave open is in `SECURITY.md`.
 * `unit`: runners and services; `controller`: may command; `watcher`: sees the fleet, touches nothing.
 *
 * @example
 * authorization { users: [ { user: ops, password: $OPS, permissions: <permissions('controller') as JSON> } ] }
 * @example permissions('unit', { user: 'delays', units: ['delays'], subjects: ['sensors.>'] })
 */
export function permissions(role: 'unit' | 'controller' | 'watcher', options: PermissionOptions = {}): Permissions {
  const { user, units, subjects = [] } = options
  if (user !== undefined && !/^[\w-]+$/.test(user))
    throw failure('INVALID_OPTION', `user: "${user}" cannot be part of a subject; letters, digits, - and _ can`)
  const inbox = user === undefined ? '_INBOX.>' : `_INBOX_${user}.>`
  switch (role) {
    case 'controller':
      return { publish: { allow: ['>'] }, subscribe: { allow: ['>'] } }
    case 'unit':
      // what controllers act upon is theirs alone to write: a rollout that anybody could put up would be carried out
      return {
        publish: {
          deny: [
            ...['ctl', 'audit', 'evt.fleet', 'evt.control', ...buckets.map((bucket) => `$KV.${bucket}`)].map(
              (subject) => `${subject}.>`,
            ),
            ...ruling,
            ...unread,
            ...shared,
            ...operating,
          ],
        },
        subscribe: {
          allow: [
            ...heard.map((subject) => `${subject}.>`),
            ...(units?.map((unit) => `ctl.*.${unit}.>`) ?? ['ctl.>']),
            inbox,
            ...subjects,
          ],
        },
      }
    case 'watcher':
      return {
        publish: {
          allow: [
            '$SRV.>',
            '$JS.API.INFO',
            `$JS.API.STREAM.INFO.${beats}`,
            `$JS.API.DIRECT.GET.${beats}`,
            `$JS.API.DIRECT.GET.${beats}.>`,
            // a reader of its own; other streams' consumers are others' places in their work
            ...[
              `CREATE.${beats}`,
              `CREATE.${beats}.>`,
              `INFO.${beats}.*`,
              `DELETE.${beats}.*`,
              `MSG.NEXT.${beats}.*`,
            ].map((verb) => `$JS.API.CONSUMER.${verb}`),
          ],
        },
        subscribe: { allow: ['beat.>', 'evt.fleet.>', 'evt.control.>', inbox] },
      }
  }
}
