// The embedded server's lock and guard, over and over: parents killed at every moment of a start, rivals for a dead lock.
import { it } from 'vitest'
import { manyAtOnce, parentsKilled } from '../support/embedded-parent.ts'

it('never are two servers on a store, whenever a parent is killed −9', () => parentsKilled(20), 300_000)

it('one of three that start at once gets the store that a dead one left', () => manyAtOnce(20), 300_000)
