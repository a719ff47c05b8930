// The gateway as a composition would run it.
import { z } from 'zod'
import { connect } from '../../src/bus/index.ts'
import { contract } from '../../src/contract/index.ts'
import { fromEvent, sseGateway } from '../../src/sse/index.ts'
import { serve as serveUnit } from '../../src/unit/index.ts'
import { serving } from './sse.ts'

const bench = contract('bench', {
  version: '1.0.0',
  events: { tick: { payload: z.object({ t: z.number(), n: z.number(), text: z.string() }) } },
})

export async function serve(url: string) {
  const bus = await connect({ servers: url })
  const gateway = sseGateway({ streams: { tick: fromEvent(bench, 'tick') } })
  const unit = await serveUnit(bus, gateway, { config: { port: 0 } as never })
  return serving(unit.stats!().port!)
}
