/**
 * Going back to an older version, as a new commit. The counter never goes back: images and deltas
 * that carry a version stay unambiguous, and the restore itself can be undone the same way. One
 * value is in memory at a time, however much changed.
 */
import { equalBytes } from '../base/bytes.ts'
import type { LayerId, PageKey, Version } from '../base/ids.ts'
import { commitWith } from './commit.ts'
import { changesSince } from './history.ts'
import { readKey } from './reading.ts'
import type { StoreState } from './state.ts'
import { layerOf, notRetained } from './state.ts'

/**
 * Makes the content of `version` the new head of its layer and returns the new version. Whoever has
 * the layer open is fenced. Throws VERSION_NOT_RETAINED and what the medium throws.
 */
export function restore(state: StoreState, id: LayerId, version: Version): Version {
  const layer = layerOf(state, id)
  const changes = changesSince(state, id, version)
  if (changes.full) throw notRetained(layer, `version ${version}`)
  return commitWith(state, layer, (writer) => {
    for (const key of changes.keys) {
      const then = readKey(state, { layer: id, version }, key)
      const now = readKey(state, { layer: id, version: undefined }, key)
      if (then === undefined) {
        if (now !== undefined) writer.deleteRange({ from: key, to: (key + 1) as PageKey })
      } else if (now === undefined || !equalBytes(then, now)) writer.put(key, then)
    }
  })
}
