/**
 * What happens in a round, decided by seed and round alone: at which message the server is killed,
 * how long after it, and what else happens before the tenants are examined.
 *
 * A moment is given as a message and a few hundred microseconds, not as a time: that lands inside
 * commits, checkpoints and vacuums, which are over in a millisecond, far more often than a timer
 * does.
 */
import type { Random } from '../../src/base/random.ts'
import { SeededRandom } from '../../src/base/random.ts'

/** A moment of the work. */
export interface Moment {
  /** Only messages of this operation count; undefined: all do. */
  readonly operation: string | undefined
  /** The how many-th of them. */
  readonly count: number
  /** Microseconds after it was sent. */
  readonly delayUs: number
}

/** What happens between the first kill and the examination. */
export type Aftermath =
  | { readonly kind: 'none' }
  /** The next server is killed this long after its process was started. */
  | { readonly kind: 'start'; readonly afterMs: number }
  /** It gets ready, all tenants are woken at once, and it is killed in the middle of that. */
  | { readonly kind: 'wake'; readonly afterMs: number }
  /** It works until this moment, and is killed again. */
  | { readonly kind: 'again'; readonly moment: Moment }

export interface RoundPlan {
  readonly moment: Moment
  /** How the server ends: without warning, or by SIGTERM with everybody at work. */
  readonly ending: 'kill' | 'stop'
  /** Milliseconds that the clients are still before the end, so that upkeep and naps begin. */
  readonly calmMs: number
  readonly aftermath: Aftermath
}

/** Operations that take long or write much, or do it in an unusual way. */
const HOT_OPERATIONS = [
  'checkpoint',
  'vacuum',
  'vacuumFull',
  'vacuumFreeze',
  'reindex',
  'createIndex',
  'createOrDrop',
  'createAsSelect',
  'truncate',
  'insertBig',
  'copy',
  'updateAll',
  'pipeline',
  'transfer',
  'transaction',
  'nap',
]
const DELAY_US_MAX = 3_000
const START_MS_MAX = 500
const WAKE_MS_MAX = 150

/** Mixes numbers into a seed (FNV-1a over their bytes). */
export function mixSeed(...parts: readonly number[]): number {
  let hash = 0x811c9dc5
  for (const part of parts) {
    for (let shift = 0; shift < 32; shift += 8) {
      hash = Math.imul(hash ^ ((part >>> shift) & 0xff), 0x01000193)
    }
  }
  return hash >>> 0
}

/** The plan of a round. */
export function planRound(seed: number, round: number): RoundPlan {
  const random = new SeededRandom(mixSeed(seed, round))
  return {
    moment: someMoment(random, 600),
    ending: random.below(12) === 0 ? 'stop' : 'kill',
    calmMs: random.below(6) === 0 ? 150 + random.below(700) : 0,
    aftermath: someAftermath(random),
  }
}

function someMoment(random: Random, countMax: number): Moment {
  // Most commits take less than half a millisecond, a checkpoint a few.
  const delayUs = random.below(random.below(2) === 0 ? 400 : DELAY_US_MAX)
  if (random.below(2) === 0) {
    return { operation: undefined, count: 1 + random.below(countMax), delayUs }
  }
  const operation = HOT_OPERATIONS[random.below(HOT_OPERATIONS.length)]
  return { operation, count: 1 + random.below(4), delayUs }
}

function someAftermath(random: Random): Aftermath {
  switch (random.below(8)) {
    case 0:
    case 1:
      return { kind: 'start', afterMs: random.below(START_MS_MAX) }
    case 2:
      return { kind: 'wake', afterMs: random.below(WAKE_MS_MAX) }
    case 3:
      return { kind: 'again', moment: someMoment(random, 150) }
    default:
      return { kind: 'none' }
  }
}
