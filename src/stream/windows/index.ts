// Windows: how time is cut, and the operators that do it.
import type { Circuit, Operator } from '../circuit.ts'
import { Counteds } from './counteds.ts'
import { Panes } from './panes.ts'
import { Sessions } from './sessions.ts'
import type { WindowShape } from './shapes.ts'
import { Slidings } from './slidings.ts'
import type { WindowOperator, WindowPlan } from './window-operator.ts'

export { Aggregation } from './aggregation.ts'
export {
  calendar,
  counted,
  hopping,
  session,
  sliding,
  tumbling,
  type WindowShape,
} from './shapes.ts'
export type { Emission, WindowPlan } from './window-operator.ts'

export function windowOperator<T>(
  circuit: Circuit,
  shape: WindowShape,
  plan: WindowPlan<T>,
): Operator & WindowOperator<T> {
  switch (shape.kind) {
    case 'aligned':
      return new Panes(circuit, shape, plan)
    case 'session':
      return new Sessions(circuit, shape, plan)
    case 'sliding':
      return new Slidings(circuit, shape, plan)
    case 'counted':
      return new Counteds(circuit, shape, plan)
  }
}
