// The airline, composed. Sources stand last: what is listed last drains first.
import { defineComposition } from 'myelin/runtime'

export default defineComposition({
  name: 'airline',
  sites: { local: {} },
  units: {
    board: { use: './units/board.ts', config: { port: 4280 } },
    controller: { use: './units/controller.ts' },
    airports: { use: './units/airports.ts', replicas: 2 },
    rebooking: { use: './units/rebooking.ts' },
    unusual: { use: './units/unusual.ts', isolation: 'process' },
    states: { use: './units/states.ts', isolation: 'process' },
    delays: { use: './units/delays.ts', isolation: 'process' },
    feed: { use: './units/flights-feed.ts', isolation: 'process', config: { speed: 3600 } },
  },
})
