/** Runs of clients' statements, most of which are over at once, and some of which pause. */
import type { Slot } from '../engine/engine.ts'
import type { SessionOwner } from './tenant-channels.ts'

/** Runs a batch of `owner`, during which its thread may serve others if it is to be able to. */
export function runPausing(
  owner: SessionOwner,
  slot: Slot,
  messages: Uint8Array,
): Uint8Array | Promise<Uint8Array> {
  const { otherDatabases, mayPause = true, pause } = owner
  const number = numberOf(owner)
  return mayPause && slot.runPausing
    ? slot.runPausing(messages, number, otherDatabases, pause)
    : slot.run(messages, number, otherDatabases)
}

/**
 * By which number a batch of `owner` is run. What gives it its settings is of the pool's making: in
 * UTF-8, whatever it sets, and whatever is stored for it.
 */
export function numberOf({ number, begins }: SessionOwner): number {
  return begins === true ? 0 : number
}

/** Does `act` with an answer, at once if it is there. */
export function whenAnswered(
  answer: Uint8Array | Promise<Uint8Array>,
  act: (answer: Uint8Array) => Uint8Array | Promise<Uint8Array>,
): Uint8Array | Promise<Uint8Array> {
  return answer instanceof Promise ? answer.then(act) : act(answer)
}
