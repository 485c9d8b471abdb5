/** PGDATA under as much of Emscripten's file system as knows names. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { Template } from '../store/template.ts'
import { TenantFiles } from '../store/tenant-files.ts'
import type { EmscriptenModule, EmscriptenNode } from './emscripten.ts'
import { SlotFiles } from './slot-files.ts'

const FOLDER_MODE = 0o040700
const FILE_MODE = 0o100600
const TYPE_MASK = 0o170000
const options = { template: Template.empty(), clock: new ManualClock() }

interface FolderOperations {
  mknod(parent: EmscriptenNode, name: string, mode: number): EmscriptenNode
  rename(node: EmscriptenNode, folder: EmscriptenNode, name: string): void
  unlink(parent: EmscriptenNode, name: string): void
  rmdir(parent: EmscriptenNode, name: string): void
}

class Names {
  readonly nodes: Set<EmscriptenNode> = new Set()
  /** How often a node was to be taken out, whether it was there or not. */
  removals = 0
  readonly streams = []
  readonly ErrnoError = class extends Error {
    readonly errno: number
    constructor(errno: number) {
      super(`errno ${errno}`)
      this.errno = errno
    }
  }

  mkdirTree(): void {}
  isDir = (mode: number): boolean => (mode & TYPE_MASK) === (FOLDER_MODE & TYPE_MASK)
  isFile = (mode: number): boolean => (mode & TYPE_MASK) === (FILE_MODE & TYPE_MASK)

  mount({ mount }: { readonly mount: () => EmscriptenNode }): EmscriptenNode {
    return mount()
  }

  createNode(parent: EmscriptenNode | null, name: string, mode: number): EmscriptenNode {
    const node = { name, mode, parent } as EmscriptenNode
    this.nodes.add(node)
    return node
  }

  lookupNode(parent: EmscriptenNode, name: string): EmscriptenNode {
    const node = [...this.nodes].find((one) => one.parent === parent && one.name === name)
    assert(node, `${name} has a node`)
    return node
  }

  hashRemoveNode(node: EmscriptenNode): void {
    this.removals++
    this.nodes.delete(node)
  }

  destroyNode(node: EmscriptenNode): void {
    this.nodes.delete(node)
  }
}

test('names that are gone leave nothing behind in a tenant that stays', () => {
  const names = new Names()
  const slot = new SlotFiles(1_000_000, () => 0)
  const module = { FS: names } as unknown as EmscriptenModule
  slot.mount(module, TenantFiles.inMemory(options))
  const [root] = names.nodes
  assert(root)
  slot.switchTo(TenantFiles.inMemory(options), 'acme')
  const folder = root.node_ops as FolderOperations
  for (let round = 0; round < 10; round++) {
    folder.mknod(root, 'file', FILE_MODE)
    // As Emscripten does it: the node goes when the operation has come back.
    folder.rename(folder.mknod(root, 'other', FILE_MODE), root, 'file')
    folder.unlink(root, 'file')
    for (const node of names.nodes) if (node.name === 'file') names.destroyNode(node)
    const made = folder.mknod(root, 'folder', FOLDER_MODE)
    folder.rmdir(root, 'folder')
    names.destroyNode(made)
  }
  const kept = folder.mknod(root, 'kept', FOLDER_MODE)
  assert.throws(() => folder.unlink(root, 'kept'), { errno: 31 })
  names.removals = 0
  slot.switchTo(TenantFiles.inMemory(options), 'zeta')
  assert.equal(names.removals, 1)
  assert.deepEqual([...names.nodes], [root], `${kept.name} is not there for the next tenant`)
})
