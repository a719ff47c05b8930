// The shipped permission set: who may say what on the control plane, for nats-server's configuration or user JWTs.

export interface Permissions {
  readonly publish: { readonly allow?: readonly string[]; readonly deny?: readonly string[] }
  readonly subscribe: { readonly allow?: readonly string[]; readonly deny?: readonly string[] }
}

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
      // desired state and audit are the controllers' to write
      return { publish: { deny: ['ctl.>', '$KV.MYELIN_DESIRED.>', 'audit.>'] }, subscribe: {} }
    case 'watcher':
      return {
        publish: {
          allow: ['$SRV.>', '$JS.API.STREAM.INFO.*', '$JS.API.CONSUMER.>', '$JS.API.DIRECT.GET.>', '$JS.API.INFO'],
        },
        subscribe: { allow: ['beat.>', 'evt.fleet.>', '_INBOX.>'] },
      }
  }
}
