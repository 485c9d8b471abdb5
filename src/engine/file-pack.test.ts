import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parsePack, serializePack } from './file-pack.ts'
import { readTar } from './tar.ts'

const files = fc
  .uniqueArray(fc.tuple(fc.string(), fc.uint8Array({ maxLength: 50 })), {
    selector: ([path]) => path,
  })
  .map((entries) => new Map(entries))

test('a pack gives back its files, sorted, also from shared memory', () => {
  fc.assert(
    fc.property(files, (pack) => {
      const bytes = serializePack(pack)
      const shared = new Uint8Array(new SharedArrayBuffer(bytes.length))
      shared.set(bytes)
      const parsed = parsePack(shared)
      const sorted = [...pack.keys()].toSorted((a, b) => (a < b ? -1 : 1))
      assert.deepEqual([...parsed.keys()], sorted)
      for (const [path, content] of pack) assert.deepEqual(parsed.get(path)?.slice(), content)
    }),
  )
})

test('a pack that is cut short is noticed', () => {
  const bytes = serializePack(new Map([['a', new Uint8Array(10)]]))
  assert.throws(() => parsePack(bytes.subarray(0, bytes.length - 1)), /ends where/)
})

/** A ustar header for one entry. */
const header = (name: string, size: number, type: string): Uint8Array => {
  const block = Buffer.alloc(512)
  block.write(name, 0)
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124)
  block.write(type, 156)
  return block
}

test('tar files are read, folders are passed over, anything else is refused', () => {
  const content = Buffer.alloc(512)
  content.write('hello')
  const archive = Buffer.concat([
    header('folder/', 0, '5'),
    header('folder/file', 5, '0'),
    content,
    Buffer.alloc(1024),
  ])
  const read = readTar(archive)
  assert.deepEqual([...read.keys()], ['folder/file'])
  assert.equal(Buffer.from(read.get('folder/file') ?? []).toString(), 'hello')
  assert.throws(() => readTar(header('link', 0, '2')), /of type 2/)
})
