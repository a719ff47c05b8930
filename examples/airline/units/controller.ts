// The airline's controller: tells what happens in the fleet as events, and carries out rollouts.
import { controller } from 'myelin/control'

export default controller()
