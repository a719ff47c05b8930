// Puts the passengers of badly delayed flights on other ones: looks for airports near the origin, and says what it did.
import { service } from 'myelin/service'
import { airports } from '../contracts/airports.ts'
import { rebooking } from '../contracts/rebooking.ts'

export default service(rebooking, {
  rebook: async (flight, { client }) => {
    const near = await client(airports).nearest.try({ iata: flight.origin, count: 3 })
    // an airport that the file does not know has no neighbours: its passengers wait
    const alternatives = near.ok ? near.value.map(({ iata }) => iata) : []
    await client(rebooking).done.publish({ flight, alternatives }, { id: `flight-${flight.id}` })
  },
})
