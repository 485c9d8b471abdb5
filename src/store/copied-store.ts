/**
 * What makes a copy of a store's file a store of its own: another name, and nothing but what the
 * newest version of main holds. Branches and history stay with the store that they were made in.
 *
 * Until all of it is done the copy must not be used: it goes by the name of the other one, and an
 * image of that one would be taken for its own.
 */
import { MAIN } from './keys.ts'
import { drop } from './layers.ts'
import { drawStoreId } from './schema.ts'
import type { StoreState } from './state.ts'
import { current, write } from './state.ts'

/**
 * The store has another id from its next opening on. What is left is to forget its history:
 * `prune(0)` until there is no more. It stays as old as the other one, whose commits it has.
 */
export function makeOwn(state: StoreState): void {
  // Who stands on others is younger than they; those that were only kept for it go with it.
  const youngestFirst = [...current(state).layers.keys()].toSorted((a, b) => b - a)
  for (const id of youngestFirst) if (id !== MAIN && state.layers.has(id)) drop(state, id)
  write(state, () => drawStoreId(state.medium))
}
