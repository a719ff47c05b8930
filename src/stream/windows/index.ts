// Windows: how time is cut, and the operators that do it.
import type { Dataflow, Operator } from '../dataflow.ts'
import { AlignedWindows } from './aligned.ts'
import { CountWindows } from './count.ts'
import { SessionWindows } from './session.ts'
import type { WindowShape } from './shapes.ts'
import { SlidingWindows } from './sliding.ts'
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
  dataflow: Dataflow,
  shape: WindowShape,
  plan: WindowPlan<T>,
): Operator & WindowOperator<T> {
  switch (shape.kind) {
    case 'aligned':
      return new AlignedWindows(dataflow, shape, plan)
    case 'session':
      return new SessionWindows(dataflow, shape, plan)
    case 'sliding':
      return new SlidingWindows(dataflow, shape, plan)
    case 'counted':
      return new CountWindows(dataflow, shape, plan)
  }
}
