import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { Template } from './template.ts'
import { TenantFiles } from './tenant-files.ts'

const clock = new ManualClock()

function sample(): TenantFiles {
  const files = TenantFiles.inMemory({ template: Template.empty(), clock })
  const base = files.create(files.root, 'base', 0o040700)
  for (const name of ['1', '2', 'ä']) {
    const node = files.create(base, name, 0o100600)
    files.write(node, new Uint8Array(20_000).fill(7), 0, 20_000, 0)
    files.truncate(node, 50_000)
  }
  const temporary = files.create(files.root, 'pg_stat_tmp', 0o040700)
  files.create(temporary, 'x', 0o100600)
  files.create(files.root, 'postmaster.pid', 0o100600)
  return files
}

test('a template holds the tree, equal contents once, and nothing ephemeral', () => {
  const template = Template.fromFiles(sample())
  const bytes = template.serialize()
  assert.ok(bytes.length < 21_000, `${bytes.length} bytes`)
  const files = TenantFiles.inMemory({ template: Template.parse(bytes), clock })
  assert.deepEqual(files.list(files.root).toSorted(), ['base', 'pg_stat_tmp'])
  const base = files.lookup(files.root, 'base')
  assert.ok(base)
  assert.deepEqual(files.list(base).toSorted(), ['1', '2', 'ä'])
  const node = files.lookup(base, 'ä')
  assert.ok(node)
  assert.equal(node.size, 50_000)
  const read = new Uint8Array(2)
  assert.equal(files.read(node, read, 0, 2, 19_999), 2)
  assert.deepEqual([...read], [7, 0])
})

test('the id follows from the content, and reading again gives the same template', () => {
  const template = Template.fromFiles(sample())
  assert.match(template.id, /^[0-9a-f]{32}$/)
  assert.equal(Template.fromFiles(sample()).id, template.id)
  const again = Template.parse(template.serialize())
  assert.equal(again.id, template.id)
  const contents = (tree: Template): unknown[] =>
    tree.nodes().map(({ content, ...node }) => [node, content(0, node.dataBytes)])
  assert.deepEqual(contents(again), contents(template))
  const files = sample()
  files.create(files.root, 'more', 0o100600)
  assert.notEqual(Template.fromFiles(files).id, template.id)
})

test('a template may lie in shared memory and at an odd place', () => {
  const bytes = Template.fromFiles(sample()).serialize()
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + 3), 3)
  shared.set(bytes)
  assert.equal(Template.parse(shared).fileCount, 6)
})

test('of a template that has not been read, a file is read when it is looked at', () => {
  const bytes = Template.fromFiles(sample()).serialize()
  const sparse = new Uint8Array(bytes.length)
  let filledBytes = 0
  const fill = (part: Uint8Array): void => {
    const at = part.byteOffset
    part.set(bytes.subarray(at, at + part.length))
    filledBytes += part.length
  }
  const template = Template.parse(sparse, { checked: true, fill })
  const node = template.nodes().find(({ name }) => name === 'ä')
  assert.ok(node)
  assert.ok(filledBytes <= bytes.length - node.dataBytes)
  assert.deepEqual([...node.content(19_999, 20_000)], [7])
  assert.throws(() => node.content(0, node.dataBytes + 1), /inside of the file/)
  assert.deepEqual(template.serialize(), bytes)
})

test('damage anywhere is found', () => {
  const bytes = Template.fromFiles(sample()).serialize()
  const expected = { code: 'ENGINE_ASSETS_INVALID' }
  for (let at = 0; at < bytes.length; at += 1 + (at >> 3)) {
    // Byte 12 to 15, the number of nodes, shows itself as a tree that does not fit.
    const damaged = bytes.slice()
    damaged[at] = (damaged[at] ?? 0) ^ 0x10
    assert.throws(() => Template.parse(damaged), expected, `byte ${at}`)
  }
  assert.throws(() => Template.parse(bytes.subarray(0, bytes.length - 8)), expected)
  assert.throws(() => Template.parse(new Uint8Array(0)), expected)
})
