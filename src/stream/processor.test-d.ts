// What cannot work must not compile: checked by `npm run check`, never run.
import { z } from 'zod'
import { contract } from '../contract/internal.ts'
import { count, event, processor, publish, tumbling, view } from './index.ts'

const Reading = z.object({ room: z.string(), at: z.number() })
const readings = contract('readings', {
  version: '1.0.0',
  events: {
    read: { payload: Reading, key: 'room', durable: true },
    kept: { payload: Reading, durable: { maxAge: '1d' } },
    seen: { payload: Reading },
  },
})

event(readings, 'read')
event(readings, 'kept')
// @ts-expect-error a core event is not kept: nothing can be read again after a crash
event(readings, 'seen')
// @ts-expect-error there is no such event
event(readings, 'rread')
// a core event can be published
publish(readings, 'seen')

const Row = z.object({ room: z.string(), start: z.string(), events: z.number() })
const hourly = view('hourly', { key: 'room', row: Row })
// @ts-expect-error the key is no field of the row
view('hourly', { key: 'rom', row: Row })
// without a schema any name may be the key's
view('hourly', { key: 'rom' })

processor('hourly', { from: event(readings, 'read'), to: hourly }, (read) =>
  read
    .time((value) => value.at)
    .keyBy((value) => value.room)
    .window(tumbling('1h'))
    .aggregate({ events: count() }),
)

processor('hourly', { from: event(readings, 'read'), to: hourly }, (read) =>
  read
    .time((value) => value.at)
    // @ts-expect-error the payload has no such field
    .keyBy((value) => value.rom)
    .window(tumbling('1h'))
    .aggregate({ events: count() }),
)

processor('hourly', { from: event(readings, 'read'), to: hourly }, (read) => {
  const keyed = read.keyBy((value) => value.room)
  // @ts-expect-error windows need an event time
  return keyed.window(tumbling('1h')).aggregate({ events: count() })
})

// @ts-expect-error the program's rows are not those of the view
processor('hourly', { from: event(readings, 'read'), to: hourly }, (read) =>
  read
    .time((value) => value.at)
    .keyBy((value) => value.room)
    .window(tumbling('1h'))
    .aggregate({ counted: count() }),
)
