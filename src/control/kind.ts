// The kind `myelin:controller`.
import { nameOf } from '../bus/internal.ts'
import { defineKind } from '../unit/internal.ts'
import { controller } from './controller.ts'

/** The spec of `myelin:controller`. */
export const controllerKind = defineKind({
  use: 'myelin:controller',
  summary: 'Announces what happens in the fleet and carries out rollouts.',
  guarantee: 'Several run and one leads; a killed leader is replaced in under 3 s, and its rollouts go on.',
  example: `controller: { use: myelin:controller, replicas: 2 }`,
  unit: controller(),
  access: () => ({
    publishes: ['ctl.>', 'audit.>', 'evt.fleet.>', 'evt.control.>'],
    subscribes: ['beat.>'],
    owns: {
      streams: [nameOf('audit')],
      buckets: ['DESIRED', 'LEASES', 'ROLLOUTS'].map((word) => nameOf('bucket', word)),
      consumers: [],
    },
    reads: { streams: [nameOf('beats')], buckets: [], consumers: [] },
  }),
})
