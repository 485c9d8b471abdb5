/**
 * Statements that were tried in a fork, by their texts, and what came of it. For a while none is
 * tried that was in vain, whoever says it; and for what did only read a fork is made also when one
 * has just been in vain. Only for a while, because what they call may be changed, and because some
 * wrote only that time.
 *
 * Of a text only a number is kept. Two texts with one number cost the second its fork, for as long:
 * it waits as it would without forks.
 */
import { textAt } from '../base/bytes.ts'
import { LIMITS } from '../base/limits.ts'
import { eachMessage } from '../base/message-frames.ts'

const QUERY = 0x51
const PARSE = 0x50
const BIND = 0x42
const TYPE_BYTES = 5
/** FNV-1a. */
const OFFSET = 0x811c9dc5
const PRIME = 0x01000193
/** A second one, of which enough is taken that both are an exact number together. */
const OTHER_OFFSET = 0x9747b28c
const OTHER_BITS = 20

/** What a batch says, in a number. */
export interface TriedKey {
  readonly number: number
  /** It goes by names of statements that only its client knows. */
  readonly isOwn: boolean
}

interface Trial {
  readonly wasVain: boolean
  readonly untilMs: number
}

/** Of one tenant, or of the names of one client. */
export class TriedTexts {
  /** The oldest first. */
  readonly #trials = new Map<number, Trial>()

  note({ number }: TriedKey, wasVain: boolean, nowMs: number): void {
    this.#trials.delete(number)
    this.#trials.set(number, { wasVain, untilMs: nowMs + LIMITS.triedTextMs })
    if (this.#trials.size <= LIMITS.triedTextsMax) return
    for (const oldest of this.#trials.keys()) return void this.#trials.delete(oldest)
  }

  /** What came of it the last time; undefined: that is not known. */
  of({ number }: TriedKey, nowMs: number): 'vain' | 'read' | undefined {
    const trial = this.#trials.get(number)
    if (!trial) return undefined
    if (nowMs < trial.untilMs) return trial.wasVain ? 'vain' : 'read'
    this.#trials.delete(number)
    return undefined
  }
}

/** Of all texts in a batch together, and the statements that it binds. */
export function triedKey(messages: Uint8Array): TriedKey {
  let isOwn = false
  let one = OFFSET
  let other = OTHER_OFFSET
  const made = new Set<string>()
  // With the byte that ends it: `a;` and `b` are not `a` and `;b`.
  const take = (from: number): void => {
    const end = messages.indexOf(0, from) + 1
    for (let index = from; index < end; index++) {
      const byte = messages[index] ?? 0
      one = Math.imul(one ^ byte, PRIME)
      other = Math.imul(other ^ byte, PRIME)
    }
  }
  eachMessage(messages, (type, at) => {
    const from = at + TYPE_BYTES
    if (type === QUERY) take(from)
    if (type === PARSE) {
      made.add(textAt(messages, from))
      take(messages.indexOf(0, from) + 1)
    }
    if (type !== BIND) return
    const nameFrom = messages.indexOf(0, from) + 1
    if (made.has(textAt(messages, nameFrom))) return
    isOwn = true
    take(nameFrom)
  })
  return { number: (one >>> 0) * 2 ** OTHER_BITS + (other >>> (32 - OTHER_BITS)), isOwn }
}
