/**
 * Commits out of a journal, brought home into their store (`commit-journal.ts`). They are made as
 * they were made the first time, by the owner that it was then: their stamps stay true, and whoever
 * opens the store next is a new owner as after any other end.
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { Medium } from '../medium/medium.ts'
import { makeVersion } from './commit.ts'
import type { MadeCommit } from './commit-journal.ts'
import { MAIN, nextVersion } from './keys.ts'
import { hasHad, type OwnedFrom, readOwners } from './lineage.ts'
import { readMeta, readStoreId } from './schema.ts'
import { layerOf, openState, type StoreState } from './state.ts'
import { corrupt } from './varint.ts'

export interface Replayed {
  /** How many commits the store lacked. It has them now, and all that it has is durable. */
  readonly made: number
  /**
   * How many fit nowhere: others have written those versions, or an older file was put in the place
   * of the store. They are no reason to withhold what the owner after them was promised.
   */
  readonly misfits: number
}

/**
 * Makes those of `commits` that the store lacks, all or none; those of another store are left out,
 * for that one was deleted. Throws STORE_CORRUPT where one in between is missing, and what the
 * medium throws.
 */
export function replay(medium: Medium, commits: readonly MadeCommit[], clock: Clock): Replayed {
  const storeId = readStoreId(medium)
  const meta = readMeta(medium)
  const own = commits.filter((one) => one.storeId === storeId)
  if (meta === undefined || own.length === 0) return { made: 0, misfits: 0 }
  const state = openState(medium, meta, { clock, storeId })
  const { head } = layerOf(state, MAIN)
  const owners = readOwners(medium)
  // An owner is durable before a journal has anything of it: only the last one can lack something.
  const fits = (each: MadeCommit): boolean =>
    each.version > head ? isOfOwner(state, each) : !isOfAnotherPast(owners, each)
  const fitting = own.filter(fits)
  const missing = fitting.filter(({ version }) => version > head)
  if (missing.length > 0) make(state, missing)
  return { made: missing.length, misfits: own.length - fitting.length }
}

function make(state: StoreState, missing: readonly MadeCommit[]): void {
  const main = layerOf(state, MAIN)
  state.medium.transaction(() => {
    for (const { version, atMs, changes } of missing.toSorted((a, b) => a.version - b.version)) {
      if (version !== nextVersion(main.head)) {
        throw corrupt(`the journal goes on at version ${version}, the store ends at ${main.head}`)
      }
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
