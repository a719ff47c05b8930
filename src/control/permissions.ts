// The shipped permission set: who may say what on the control plane, for nats-server's configuration or user JWTs.
import { bucketStream, nameOf } from '../bus/index.ts'

export interface Permissions {
  readonly publish: { readonly allow?: readonly string[]; readonly deny?: readonly string[] }
  readonly subscribe: { readonly allow?: readonly string[]; readonly deny?: readonly string[] }
}

const buckets = ['DESIRED', 'LEASES', 'ROLLOUTS'].map((word) => nameOf('bucket', word))
const beats = nameOf('beats')
/** Changing or emptying the streams behind them says as much as writing there. */
const ruling = [...buckets.map(bucketStream), nameOf('audit')].flatMap((stream) =>
  ['UPDATE', 'DELETE', 'PURGE', 'MSG.DELETE', 'RESTORE'].map((verb) => `$JS.API.STREAM.${verb}.${stream}`),
)

/**
 * Permissions of a role, in the form of nats-server's `permissions`.
 * `unit`: hosts and services; `controller`: may command; `watcher`: sees the fleet, touches nothing.
 *
 * @example
 * authorization { users: [ { user: ops, password: $OPS, permissions: <permissions('controller') as JSON> } ] }
 */
export function permissions(role: 'unit' | 'controller' | 'watcher'): Permissions {
  switch (role) {
    case 'controller':
      return { publish: { allow: ['>'] }, subscribe: { allow: ['>'] } }
    case 'unit':
      // what controllers act upon is theirs alone to write: a rollout that anybody could put up would be carried out
      return {
        publish: { deny: ['ctl.>', 'audit.>', ...buckets.map((bucket) => `$KV.${bucket}.>`), ...ruling] },
        subscribe: {},
      }
    case 'watcher':
      return {
        publish: {
          allow: [
            '$SRV.>',
            '$JS.API.INFO',
            '$JS.API.STREAM.INFO.*',
            '$JS.API.DIRECT.GET.>',
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
        subscribe: { allow: ['beat.>', 'evt.fleet.>', '_INBOX.>'] },
      }
  }
}
