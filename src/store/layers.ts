/**
 * Layers: main, branches, and the chain a read falls through.
 *
 * A branch is one row that says which version of which layer it stands on; nothing is copied. What
 * it stands on must stay readable as long as the branch lives, whatever the parent's floor: that is
 * a pin. Ids are never used twice (meta.next_layer), because memory images and caches are keyed by
 * them.
 */
import { assert } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'
import type { LayerId, Version } from '../base/ids.ts'
import { IN_LAYER, LAYERS_MAX, MAIN } from './keys.ts'
import type { Level } from './reading.ts'
import { setMeta } from './schema.ts'
import type { Layer, StoreState } from './state.ts'
import { current, layerOf, notRetained, pinsOf, write } from './state.ts'

/** Layers from this one down to main, each at the version that the one above stands on. */
export function levelsBelow(state: StoreState, id: LayerId): readonly Level[] {
  const levels: Level[] = []
  let layer = layerOf(state, id)
  while (layer.parent !== undefined) {
    assert(layer.parent < layer.id, 'a layer stands on an older one')
    levels.push({ layer: layer.parent, version: layer.base })
    layer = layerOf(state, layer.parent)
  }
  return levels
}

/** The live branch of this name ("main" is main). */
export function findLayer(state: StoreState, name: string): Layer | undefined {
  for (const layer of current(state).layers.values()) {
    if (layer.name === name && !layer.dead) return layer
  }
  return undefined
}

export interface BranchOptions {
  readonly name?: string
  /** Default: the head of the parent. */
  readonly version?: Version
}

/**
 * A new layer on `parent` at a retained version. Throws VERSION_NOT_RETAINED, TENANT_EXISTS for a
 * name in use, and STORE_FULL when the 524,286 layers of a store are used up.
 */
export function branch(state: StoreState, parentId: LayerId, options: BranchOptions): LayerId {
  const parent = layerOf(state, parentId)
  const version = options.version ?? parent.head
  if (parent.dead || version < parent.floor || version > parent.head) {
    throw notRetained(parent, `version ${version}`)
  }
  const { name } = options
  if (name !== undefined && findLayer(state, name) !== undefined) {
    throw new PgnapError('TENANT_EXISTS', `branch "${name}" already exists`, {
      hint: 'choose another name, or delete the branch first',
    })
  }
  if (state.nextLayer >= LAYERS_MAX) {
    throw new PgnapError('STORE_FULL', 'this store can hold no more branches', {
      hint: 'dump the tenant and restore it into a new one',
    })
  }
  const id = state.nextLayer as LayerId
  const createdMs = Math.floor(state.clock.nowMs())
  write(state, () => {
    state.medium.run(
      'INSERT INTO layer VALUES (?1, ?2, ?3, ?4, ?5, ?3, ?5, ?6, 0)',
      id,
      parentId,
      version,
      name ?? null,
      createdMs,
      parent.nextInode,
    )
    setMeta(state.medium, 'nextLayer', id + 1)
  })
  state.nextLayer = id + 1
  state.layers.set(id, {
    id,
    parent: parentId,
    base: version,
    name,
    createdMs,
    floor: version,
    floorMs: createdMs,
    swept: version,
    nextInode: parent.nextInode,
    dead: false,
    head: version,
    headMs: createdMs,
    hot: new Map(),
  })
  return id
}

/**
 * Deletes a branch. One that others stand on loses its name and stays until they are gone. Main
 * cannot be dropped. Parents are swept again by the next `prune`, since a pin may have gone.
 */
export function drop(state: StoreState, id: LayerId): void {
  const layer = layerOf(state, id)
  assert(id !== MAIN, 'main is deleted with its store')
  const hasChildren = [...state.layers.values()].some((other) => other.parent === id)
  if (hasChildren) {
    write(state, () => {
      state.medium.run('UPDATE layer SET dead = 1, name = NULL WHERE id = ?1', id)
    })
    layer.dead = true
    layer.name = undefined
    return
  }
  if ((state.pins.get(id)?.size ?? 0) > 0) {
    throw new PgnapError('TENANT_BUSY', 'the branch is being read', {
      hint: 'end its sessions first',
    })
  }
  const gone = [layer, ...deadAncestors(state, layer)]
  const parent = layerOf(state, gone.at(-1)?.parent ?? MAIN)
  write(state, () => {
    for (const one of gone) {
      for (const table of ['page', 'undo', 'log']) {
        state.medium.run(`DELETE FROM ${table} WHERE ${IN_LAYER}`, one.id)
      }
      state.medium.run('DELETE FROM layer WHERE id = ?1', one.id)
    }
  })
  for (const one of gone) {
    state.layers.delete(one.id)
    forgetFrozen(state, one.id)
  }
  // Only log rows whose keys were pinned are still there below `swept`: the new sweep is short.
  parent.swept = parent.base
}

/** Dropped layers above `layer` that nothing but it stands on. */
function deadAncestors(state: StoreState, layer: Layer): readonly Layer[] {
  const ancestors: Layer[] = []
  let child = layer
  while (child.parent !== undefined) {
    const parent = layerOf(state, child.parent)
    if (!parent.dead || pinsOf(state, parent.id).length > 1) break
    ancestors.push(parent)
    child = parent
  }
  return ancestors
}

function forgetFrozen(state: StoreState, id: LayerId): void {
  for (const name of state.frozenKeys.keys()) {
    if (name.startsWith(`${id}@`)) state.frozenKeys.delete(name)
  }
}

/** Keeps a version readable while somebody reads it; returns how to let it go. */
export function pin(state: StoreState, id: LayerId, version: Version): () => void {
  const layer = layerOf(state, id)
  const known = pinsOf(state, id).includes(version)
  if (!known && (version < layer.floor || version > layer.head)) {
    throw notRetained(layer, `version ${version}`)
  }
  const pins = state.pins.get(id) ?? new Map<Version, number>()
  state.pins.set(id, pins)
  pins.set(version, (pins.get(version) ?? 0) + 1)
  let held = true
  return () => {
    if (!held) return
    held = false
    const count = pins.get(version) ?? 0
    assert(count > 0, 'a pin is let go once')
    if (count > 1) pins.set(version, count - 1)
    else pins.delete(version)
    // What this pin held back is found again by a sweep from the start.
    const now = state.layers.get(id)
    if (now !== undefined && version < now.floor) now.swept = now.base
  }
}
