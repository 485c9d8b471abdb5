/**
 * Commits out of a journal, brought home into their store (`commit-journal.ts`). They are made as
 * they were made the first time, by the owner that it was then: their stamps stay true, and whoever
 * opens the store next is a new owner as after any other end.
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { Version } from '../base/ids.ts'
import type { Medium } from '../medium/medium.ts'
import { makeVersion } from './commit.ts'
import type { MadeCommit } from './commit-journal.ts'
import { MAIN } from './keys.ts'
import { hasHad, type OwnedFrom, readOwners } from './lineage.ts'
import { readMeta, readStoreId } from './schema.ts'
import { layerOf, openState, type StoreState } from './state.ts'

export interface Replayed {
  /** How many commits the store lacked. It has them now, and all that it has is durable. */
  readonly made: number
  /**
   * How many fit nowhere: others have written those versions, an older file was put in the place of
   * the store, or one before them is missing. They are no reason to withhold the others.
   */
  readonly misfits: number
}

/**
 * Makes those of `commits` that the store lacks, together; those of another store are left out, for
 * that one was deleted. Throws what the medium throws, and has made none then.
 */
export function replay(medium: Medium, commits: readonly MadeCommit[], clock: Clock): Replayed {
  const storeId = readStoreId(medium)
  const meta = readMeta(medium)
  const own = commits.filter((one) => one.storeId === storeId)
  if (meta === undefined || own.length === 0) return { made: 0, misfits: 0 }
  const state = openState(medium, meta, { clock, storeId })
  const { head } = layerOf(state, MAIN)
  const owners = readOwners(medium)
  const had = own.filter(({ version }) => version <= head)
  // An owner is durable before a journal has anything of it: only the last one can lack something.
  const lacked = own.filter((each) => each.version > head && isOfOwner(state, each))
  const following = followersOf(head, lacked)
  if (following.length > 0) make(state, following)
  const known = had.filter((each) => !isOfAnotherPast(owners, each))
  return { made: following.length, misfits: own.length - known.length - following.length }
}

/** As far as none is missing, oldest first. */
function followersOf(head: Version, commits: readonly MadeCommit[]): readonly MadeCommit[] {
  const sorted = commits.toSorted((a, b) => a.version - b.version)
  const end = sorted.findIndex(({ version }, index) => version !== head + index + 1)
  return end < 0 ? sorted : sorted.slice(0, end)
}

function make(state: StoreState, commits: readonly MadeCommit[]): void {
  const main = layerOf(state, MAIN)
  state.medium.transaction(() => {
    for (const { atMs, changes } of commits) {
      assert(changes.origin === undefined, 'what comes from afar is not in a journal')
      makeVersion(state, main, changes, atMs)
    }
  })
}

function isOfOwner({ epochFound, owner }: StoreState, commit: MadeCommit): boolean {
  return commit.epoch === epochFound && commit.owner === owner
}

/** Whether the version of this number is another one; who wrote very long ago is not known. */
function isOfAnotherPast(owners: readonly OwnedFrom[], commit: MadeCommit): boolean {
  const [oldest] = owners
  if (oldest === undefined || commit.epoch < oldest.epoch) return false
  return !hasHad(owners, commit, commit.version)
}
