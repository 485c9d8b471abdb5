import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { renameSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { testFolder } from '../../../../test/support/temporary-folder.ts'
import { assetsIn, hashFile, openForever, shared, SparseFile } from './sparse-file.ts'

const folder = testFolder()
const SIZE = 100_000
const content = Uint8Array.from({ length: SIZE }, (_, at) => (at * 31 + (at >> 8)) % 251)

/** A file of its own with the content. */
let files = 0
function newFile(): string {
  const path = join(folder, `file-${++files}`)
  writeFileSync(path, content)
  return path
}

test('what was asked for is there, whatever was asked for before', () => {
  const file = openForever(newFile())
  const parts = fc.array(fc.tuple(fc.nat(SIZE), fc.nat(SIZE)), { maxLength: 12 })
  fc.assert(
    fc.property(parts, (wanted) => {
      const sparse = new SparseFile(file, new ArrayBuffer(SIZE))
      for (const [a, b] of wanted) {
        const [start, end] = [Math.min(a, b), Math.max(a, b)]
        const part = sparse.bytes.subarray(start, end)
        sparse.fill(part)
        assert.deepEqual(part, content.subarray(start, end))
      }
    }),
  )
})

test('what nobody has asked for is not read', () => {
  const sparse = new SparseFile(openForever(newFile()), new ArrayBuffer(SIZE))
  sparse.fill(sparse.bytes.subarray(50_000, 50_001))
  assert.equal(sparse.bytes[50_000], content[50_000])
  assert.ok(sparse.bytes.subarray(0, 30_000).every((byte) => byte === 0))
  assert.ok(sparse.bytes.subarray(70_000).every((byte) => byte === 0))
})

test('a part is copied and hashed as it is in the file, and not kept', () => {
  const sparse = new SparseFile(openForever(newFile()), new ArrayBuffer(SIZE))
  const part = sparse.bytes.subarray(20_000, 60_000)
  const targets = [new Uint8Array(10_000), new Uint8Array(30_000)] as const
  sparse.copy(part, targets)
  assert.deepEqual(targets[0], content.subarray(20_000, 30_000))
  assert.deepEqual(targets[1], content.subarray(30_000, 60_000))
  const expected = createHash('sha256').update(content.subarray(20_000, 60_000)).digest('hex')
  assert.equal(sparse.sha256(part), expected)
  assert.ok(sparse.bytes.every((byte) => byte === 0))
})

test('a file that another one replaces is read on as it was', () => {
  const path = newFile()
  const file = shared(openForever(path))
  const other = join(folder, 'other')
  writeFileSync(other, new Uint8Array(SIZE).fill(7))
  renameSync(other, path)
  const sparse = assetsIn(file)
  sparse.fill(sparse.bytes)
  assert.deepEqual(sparse.bytes.slice(), content)
  const again = assetsIn(shared(openForever(path)))
  again.fill(again.bytes)
  assert.equal(again.bytes[0], 7)
})

test('a file is opened once for each of its versions', () => {
  const path = newFile()
  assert.equal(openForever(path).descriptor, openForever(path).descriptor)
})

test('a file that has become shorter is an error with a hint, not zeros', () => {
  const path = newFile()
  const sparse = new SparseFile(openForever(path), new ArrayBuffer(SIZE))
  truncateSync(path, 20_000)
  sparse.fill(sparse.bytes.subarray(0, 100))
  const expected = { code: 'ENGINE_ASSETS_INVALID', hint: /install it again/ }
  assert.throws(() => sparse.fill(sparse.bytes), expected)
  assert.throws(() => sparse.sha256(sparse.bytes), expected)
})

test('the hash of a file is that of its bytes', () => {
  assert.equal(hashFile(newFile()), createHash('sha256').update(content).digest('hex'))
})

test('a view of something else is not filled', () => {
  const sparse = new SparseFile(openForever(newFile()), new ArrayBuffer(SIZE))
  assert.throws(() => sparse.fill(new Uint8Array(10)), /part of the file/)
})
