/**
 * The files of a tenant against a plain model file system: random operations, commits, crashes,
 * branches and reopening, and after each the whole tree is compared, and the store verified.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '../../src/base/clock.ts'
import type { LayerId, Version } from '../../src/base/ids.ts'
import { SeededRandom } from '../../src/base/random.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { FaultyMedium } from '../../src/medium/faulty-medium.ts'
import { MAIN } from '../../src/store/keys.ts'
import { Store } from '../../src/store/store.ts'
import { Template } from '../../src/store/template.ts'
import { FileError, TenantFiles, type FileNode } from '../../src/store/tenant-files.ts'
import { storeOptions } from '../support/store-options.ts'

/** A directory is a map, a file its bytes. */
type Tree = Map<string, Tree | Uint8Array>

const clock = new ManualClock()
const NAMES = ['a', 'b', 'c', 'postmaster.pid', 'pgsql_tmp1', 'pg_internal.init']
const EPHEMERAL = /^(postmaster\.pid|pgsql_tmp1|pg_internal\.init)$/

function fill(files: TenantFiles, tree: Tree, directory: FileNode): void {
  for (const [name, content] of tree) {
    if (content instanceof Uint8Array) {
      const node = files.create(directory, name, 0o100600)
      files.write(node, content, 0, content.length, 0)
    } else fill(files, content, files.create(directory, name, 0o040700))
  }
}

function noise(random: SeededRandom, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  const from = random.below(3) === 0 ? random.below(length + 1) : 0
  for (let at = from; at < length; at += 1 + random.below(40)) bytes[at] = random.below(256)
  return bytes
}

const initial: Tree = new Map<string, Tree | Uint8Array>([
  [
    'base',
    new Map([
      ['a', new Uint8Array(30_000).fill(5)],
      ['b', new Uint8Array(100).fill(6)],
    ]),
  ],
  ['pg_wal', new Map([['a', noise(new SeededRandom(1), 40_000)]])],
  ['pg_stat_tmp', new Map()],
  ['c', new Uint8Array(9000).fill(1)],
])
const seed = TenantFiles.inMemory({ template: Template.empty(), clock })
fill(seed, initial, seed.root)
const template = Template.parse(Template.fromFiles(seed).serialize())
const options = { template, clock, cacheBytesMax: 20_000 }

function copy(tree: Tree, ephemeral: boolean, inside = ''): Tree {
  const result: Tree = new Map()
  for (const [name, content] of tree) {
    if (!ephemeral && (EPHEMERAL.test(name) || inside === 'pg_stat_tmp')) continue
    const same = content instanceof Uint8Array ? content.slice() : copy(content, ephemeral, name)
    result.set(name, same)
  }
  return result
}

function compare(files: TenantFiles, tree: Tree, directory: FileNode, path = ''): void {
  assert.deepEqual(files.list(directory).toSorted(), [...tree.keys()].toSorted(), path)
  for (const [name, content] of tree) {
    const node = files.lookup(directory, name)
    assert.ok(node, `${path}/${name}`)
    assert.equal(node.isDirectory, !(content instanceof Uint8Array))
    if (!(content instanceof Uint8Array)) compare(files, content, node, `${path}/${name}`)
    else assert.ok(Buffer.compare(bytesOf(files, node), content) === 0, `${path}/${name} differs`)
  }
}

function bytesOf(files: TenantFiles, node: FileNode): Uint8Array {
  const bytes = new Uint8Array(node.size + 10)
  const count = files.read(node, bytes, 0, bytes.length, 0)
  assert.equal(count, node.size)
  return bytes.subarray(0, count)
}

/** Drives files and model side by side. */
class Pair {
  readonly random: SeededRandom
  readonly medium = NodeSqliteMedium.inMemory()
  store: Store
  layer: LayerId = MAIN
  files: TenantFiles
  tree: Tree = copy(initial, true)
  /** By layer: what the last commit made durable. */
  readonly durable = new Map<LayerId, Tree>([[MAIN, copy(initial, false)]])
  readonly held: { node: FileNode; bytes: Uint8Array }[] = []

  constructor(seedNumber: number) {
    this.random = new SeededRandom(seedNumber)
    this.store = this.#open()
    this.files = TenantFiles.open(this.store.view(), options)
  }

  #open(): Store {
    // Never disposed: a crash closes nothing.
    return Store.open(new FaultyMedium(this.medium), storeOptions(template, { clock }))
  }

  crash(layer: LayerId = this.layer): void {
    this.files.close()
    this.store = this.#open()
    this.layer = layer
    this.files = TenantFiles.open(this.store.view(layer), options)
    this.tree = copy(this.durable.get(layer) ?? new Map(), true)
    this.held.length = 0
  }

  commit(): void {
    this.files.commit()
    assert.equal(this.files.dirty, false)
    assert.equal(this.files.walDirty, false)
    this.durable.set(this.layer, copy(this.tree, false))
  }

  step(): void {
    const { random } = this
    clock.advance(1)
    const choice = random.below(100)
    if (choice < 30) this.#write()
    else if (choice < 42) this.#truncate()
    else if (choice < 52) this.#create()
    else if (choice < 62) this.#rename()
    else if (choice < 72) this.#remove()
    else if (choice < 86) this.commit()
    else if (choice < 90) this.crash()
    else if (choice < 92) this.#branch()
    else if (choice < 94) this.crash([...this.durable.keys()][random.below(this.durable.size)])
    else if (choice < 97) this.#checkHeld()
    else {
      while (this.store.prune(random.below(30)).more);
    }
  }

  #branch(): void {
    this.commit()
    const layer = this.store.branch(this.layer)
    this.durable.set(layer, copy(this.tree, false))
    this.crash(layer)
  }

  #directory(): { tree: Tree; node: FileNode; name: string } {
    const directories = [...this.tree].filter(([, content]) => !(content instanceof Uint8Array))
    const pick = directories[this.random.below(directories.length + 1)]
    if (pick === undefined) return { tree: this.tree, node: this.files.root, name: '' }
    const node = this.files.lookup(this.files.root, pick[0])
    assert.ok(node)
    return { tree: pick[1] as Tree, node, name: pick[0] }
  }

  #file(): { tree: Tree; name: string; node: FileNode; bytes: Uint8Array } | undefined {
    const directory = this.#directory()
    const files = [...directory.tree].filter(([, content]) => content instanceof Uint8Array)
    const pick = files[this.random.below(files.length)]
    if (pick === undefined) return undefined
    const node = this.files.lookup(directory.node, pick[0])
    assert.ok(node)
    return { tree: directory.tree, name: pick[0], node, bytes: pick[1] as Uint8Array }
  }

  #write(): void {
    const file = this.#file()
    if (file === undefined) return
    const position =
      this.random.below(3) > 0
        ? 4096 * this.random.below(8)
        : this.random.below(file.bytes.length + 9000)
    const lengths = [4096, 8192, 16_384, 100, 1]
    const data = noise(this.random, lengths[this.random.below(5)] ?? 1)
    this.files.write(file.node, data, 0, data.length, position)
    const grown = new Uint8Array(Math.max(file.bytes.length, position + data.length))
    grown.set(file.bytes)
    grown.set(data, position)
    file.tree.set(file.name, grown)
  }

  #truncate(): void {
    const file = this.#file()
    if (file === undefined) return
    const sizes = [0, 4096, 8192, this.random.below(file.bytes.length + 5000)]
    const size = sizes[this.random.below(4)] ?? 0
    this.files.truncate(file.node, size)
    const cut = new Uint8Array(size)
    cut.set(file.bytes.subarray(0, size))
    file.tree.set(file.name, cut)
  }

  #create(): void {
    const { tree, node } = this.#directory()
    const name = NAMES[this.random.below(NAMES.length)] ?? 'a'
    const isDirectory = node === this.files.root && this.random.below(3) === 0
    const create = (): FileNode => this.files.create(node, name, isDirectory ? 0o040700 : 0o100600)
    if (tree.has(name)) assert.throws(create, { errno: 'EEXIST' })
    else {
      create()
      tree.set(name, isDirectory ? new Map() : new Uint8Array(0))
    }
  }

  #rename(): void {
    const from = this.#directory()
    const to = this.#directory()
    const name = [...from.tree.keys()][this.random.below(from.tree.size)]
    const target = NAMES[this.random.below(NAMES.length)] ?? 'a'
    if (name === undefined) return
    const node = this.files.lookup(from.node, name)
    const content = from.tree.get(name)
    assert.ok(node && content)
    // The directories that have a meaning stay where they are.
    if (['base', 'pg_wal', 'pg_stat_tmp'].includes(name) && from.tree === this.tree) return
    try {
      this.files.rename(node, from.node, name, to.node, target)
    } catch (error) {
      assert.ok(error instanceof FileError)
      const expected = ['EXDEV', 'EISDIR', 'ENOTDIR', 'ENOTEMPTY', 'EINVAL']
      assert.ok(expected.includes(error.errno), error.errno)
      if (content instanceof Uint8Array) {
        assert.equal(error.errno, 'EISDIR')
        assert.ok(to.tree.get(target) instanceof Map)
      }
      return
    }
    from.tree.delete(name)
    to.tree.set(target, content)
  }

  #remove(): void {
    const { tree, node } = this.#directory()
    const name = [...tree.keys()][this.random.below(tree.size)]
    if (name === undefined || ['base', 'pg_wal', 'pg_stat_tmp'].includes(name)) return
    const content = tree.get(name)
    const target = this.files.lookup(node, name)
    assert.ok(target && content)
    if (content instanceof Uint8Array) {
      if (this.random.below(2) === 0) {
        this.files.retain(target)
        this.held.push({ node: target, bytes: content })
      }
      this.files.unlink(node, name)
    } else if (content.size > 0) {
      assert.throws(() => this.files.removeDirectory(node, name), { errno: 'ENOTEMPTY' })
      return
    } else this.files.removeDirectory(node, name)
    tree.delete(name)
  }

  /** Files without a name, still held: readable and writable, then let go. */
  #checkHeld(): void {
    const index = this.random.below(this.held.length)
    const one = this.held[index]
    if (one === undefined) return
    assert.ok(Buffer.compare(bytesOf(this.files, one.node), one.bytes) === 0, 'a held file')
    this.files.write(one.node, Uint8Array.of(1, 2), 0, 2, one.node.size)
    one.bytes = Buffer.concat([one.bytes, Uint8Array.of(1, 2)])
    if (this.random.below(2) > 0) return
    this.files.release(one.node)
    this.held.splice(index, 1)
  }

  check(): void {
    compare(this.files, this.tree, this.files.root)
  }
}

describe('files of a tenant', () => {
  test('behave as a file system through commits, crashes and branches', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 150 }), (seedNumber, steps) => {
        const pair = new Pair(seedNumber)
        for (let step = 0; step < steps; step++) {
          pair.step()
          if (step % 4 === 3) pair.check()
        }
        pair.check()
        for (const layer of pair.durable.keys()) {
          pair.crash(layer)
          pair.check()
        }
        pair.commit()
        assert.deepEqual(pair.store.verify(), [])
        pair.medium[Symbol.dispose]()
      }),
      { numRuns: 150 },
    )
  })

  test('a past version reads as it was, and what is written to it stays in memory', () => {
    const pair = new Pair(3)
    const base = pair.files.lookup(pair.files.root, 'base')
    assert.ok(base)
    const trees: [Version, Tree][] = []
    for (let round = 0; round < 30; round++) {
      pair.step()
      pair.commit()
      trees.push([pair.store.head(pair.layer), copy(pair.tree, false)])
    }
    for (const [version, tree] of trees.slice(-5)) {
      const files = TenantFiles.open(pair.store.view(pair.layer, version), options)
      compare(files, tree, files.root)
      const node = files.create(files.root, 'new', 0o100600)
      files.write(node, Uint8Array.of(1), 0, 1, 0)
      assert.equal(files.dirty, true)
      assert.equal(files.commit(), undefined)
      assert.equal(bytesOf(files, node).length, 1)
      files.close()
    }
    assert.equal(pair.store.head(pair.layer), trees.at(-1)?.[0])
  })
})
