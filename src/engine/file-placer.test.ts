import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EmscriptenFs } from './emscripten.ts'
import { FilePlacer } from './file-placer.ts'

interface Node {
  contents: Uint8Array | Record<string, Node>
  usedBytes?: number
  mode?: number
  node_ops: Record<string, unknown>
  stream_ops: Record<string, unknown>
}

/** As much of Emscripten's file system in memory as places files: its own tables of operations. */
function fileSystem() {
  const changed: unknown[] = []
  const ofFile = { setattr: (_: Node, attributes: object) => void changed.push(attributes) }
  const ofStream = { read: () => 'read' }
  const mknod = (parent: Node, name: string): Node => {
    const contents = new Uint8Array(0)
    const node: Node = { contents, node_ops: ofFile, stream_ops: ofStream }
    return ((parent.contents as Record<string, Node>)[name] = node)
  }
  const folder: Node = { contents: {}, node_ops: { mknod }, stream_ops: {} }
  const fs = { mkdirTree: () => {}, lookupPath: () => ({ node: folder }) }
  const at = (name: string): Node => (folder.contents as Record<string, Node>)[name] as Node
  const open = (name: string): unknown => {
    const node = at(name)
    const operations = node.stream_ops as { open?(stream: { node: Node }): void; read(): unknown }
    operations.open?.({ node })
    return operations.read()
  }
  return { fs: fs as unknown as EmscriptenFs, at, open, changed, ofFile, ofStream }
}

test('a file is filled when it is opened, once', () => {
  const { fs, at, open, ofFile, ofStream } = fileSystem()
  const filled: Uint8Array[] = []
  const placer = new FilePlacer(fs, (part) => void filled.push(part))
  const [one, two] = [new Uint8Array(3), new Uint8Array(4)]
  placer.place('/share/one', one, 0o100644)
  placer.place('/share/two', two, 0o100644)
  assert.deepEqual(filled, [])
  assert.equal(at('one').usedBytes, 3)
  assert.equal(at('one').stream_ops, at('two').stream_ops, 'one table for all')
  assert.equal(open('one'), 'read')
  assert.equal(open('one'), 'read')
  assert.deepEqual(filled, [one])
  assert.equal(filled[0], one, 'in its place')
  assert.deepEqual([at('one').node_ops, at('one').stream_ops], [ofFile, ofStream])
  assert.notEqual(at('two').stream_ops, ofStream)
})

test('what changes a file that nobody has opened fills it before', () => {
  const { fs, at, changed } = fileSystem()
  const filled: Uint8Array[] = []
  const bytes = new Uint8Array(3)
  new FilePlacer(fs, (part) => void filled.push(part)).place('/share/one', bytes, 0o100644)
  const operations = at('one').node_ops as { setattr(node: Node, attributes: object): void }
  operations.setattr(at('one'), { size: 1 })
  assert.deepEqual([filled, changed], [[bytes], [{ size: 1 }]])
})

test('a file that is placed again has its last content, from where that is made of', () => {
  const { fs, at, open, ofStream } = fileSystem()
  const never = (): void => assert.fail('nobody sees that')
  new FilePlacer(fs, never).place('/share/one', new Uint8Array(3), 0o100644)
  const filled: Uint8Array[] = []
  const last = new Uint8Array(5)
  new FilePlacer(fs, (part) => void filled.push(part)).place('/share/one', last, 0o100755)
  assert.equal(open('one'), 'read')
  assert.deepEqual(filled, [last])
  assert.deepEqual([at('one').usedBytes, at('one').mode], [5, 0o100755])
  assert.equal(at('one').stream_ops, ofStream)
})
