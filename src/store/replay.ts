/**
 * Commits out of a journal, brought home into their store (`commit-journal.ts`). They are made as
 * they were made the first time, by the owner that it was then: their stamps stay true, and whoever
 * opens the store next is a new owner as after any other end.
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { PgnapError } from '../base/errors.ts'
import type { Version } from '../base/ids.ts'
import type { Medium } from '../medium/medium.ts'
import { makeVersion } from './commit.ts'
import type { MadeCommit } from './commit-journal.ts'
import { MAIN, nextVersion } from './keys.ts'
import { hasHad, type OwnedFrom, readOwners } from './lineage.ts'
import { readMeta, readStoreId } from './schema.ts'
import { fenced, layerOf, openState } from './state.ts'
import { corrupt } from './varint.ts'

/**
 * Makes those of `commits` that the store lacks, all or none; those of another store are left out,
 * for that one was deleted. Returns how many it lacked; all that it has is durable then.
 * Throws STORE_CORRUPT where one in between is missing, STORE_FENCED where somebody has written to
 * the store since, and what the medium throws.
 */
export function replay(medium: Medium, commits: readonly MadeCommit[], clock: Clock): number {
  const storeId = readStoreId(medium)
  const meta = readMeta(medium)
  const own = commits.filter((one) => one.storeId === storeId)
  if (meta === undefined || own.length === 0) return 0
  const state = openState(medium, meta, { clock, storeId })
  const main = layerOf(state, MAIN)
  const owners = readOwners(medium)
  for (const each of own) {
    if (each.version <= main.head && isOfAnotherPast(owners, each)) throw overtaken(each.version)
  }
  const missing = own
    .filter(({ version }) => version > main.head)
    .toSorted((a, b) => a.version - b.version)
  if (missing.length === 0) return 0
  medium.transaction(() => {
    for (const { version, epoch, owner, atMs, changes } of missing) {
      if (version !== nextVersion(main.head)) {
        throw corrupt(`the journal goes on at version ${version}, the store ends at ${main.head}`)
      }
      if (epoch !== state.epochFound || owner !== state.owner) throw overtaken(version)
      assert(changes.origin === undefined, 'what comes from afar is not in a journal')
      makeVersion(state, main, changes, atMs)
    }
  })
  return missing.length
}

/** Whether the version of this number is another one; who wrote very long ago is not known. */
function isOfAnotherPast(owners: readonly OwnedFrom[], commit: MadeCommit): boolean {
  const [oldest] = owners
  if (oldest === undefined || commit.epoch < oldest.epoch) return false
  return !hasHad(owners, commit, commit.version)
}

function overtaken(version: Version): PgnapError {
  return fenced(`others have written version ${version}, of which the journal has another one`)
}
