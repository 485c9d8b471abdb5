import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PgnapError } from '../base/errors.ts'
import type { InodeNo, PageKey } from '../base/ids.ts'
import type { StoreChanges } from './commit.ts'
import { packCommit, RowPacker, unpackCommit, unpackRows } from './packing.ts'

/** Of two arrays of bytes only what is in them counts, and not what is around them. */
const plain = <Each extends { readonly data: Uint8Array | undefined }>(row: Each): unknown => ({
  ...row,
  data: row.data && [...row.data],
})
const key = fc.maxSafeNat().map((number) => (number % 2 ** 44) as PageKey)
const data = fc.uint8Array({ maxLength: 300 })

test('rows come out as they went in, absent ones too', () => {
  const row = fc.record({ key, data: fc.option(data, { nil: undefined }) })
  fc.assert(
    fc.property(fc.array(row), (rows) => {
      const packer = new RowPacker()
      for (const each of rows) packer.add(each)
      const bytes = packer.bytes()
      assert.deepEqual([packer.count, packer.byteLength], [rows.length, bytes.length])
      assert.deepEqual(unpackRows(bytes).map(plain), rows.map(plain))
    }),
  )
})

test('commits come out as they went in, and keep nothing of the message', () => {
  const range = fc
    .tuple(key, fc.integer({ min: 1, max: 2 ** 20 }))
    .filter(([from, length]) => from + length <= 2 ** 44)
    .map(([from, length]) => ({ from, to: (from + length) as PageKey }))
  const inode = fc.integer({ min: 2 ** 20, max: 2 ** 26 - 257 }).map((number) => number as InodeNo)
  const changes: fc.Arbitrary<StoreChanges> = fc.record(
    {
      puts: fc.uniqueArray(fc.record({ key, data }), { selector: (put) => put.key }),
      deletions: fc.array(range),
      nextInode: inode,
    },
    { requiredKeys: ['puts', 'deletions'] },
  )
  fc.assert(
    fc.property(changes, (commit) => {
      const bytes = packCommit(commit)
      const unpacked = unpackCommit(bytes)
      bytes.fill(0xff)
      assert.deepEqual(
        { ...unpacked, puts: unpacked.puts.map(plain) },
        { ...commit, puts: commit.puts.map(plain) },
      )
    }),
  )
})

test('bytes that are no commit are refused, and crash nobody', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        unpackCommit(bytes)
        unpackRows(bytes)
      } catch (error) {
        assert.ok(error instanceof PgnapError && error.code === 'STORE_CORRUPT', String(error))
      }
    }),
  )
  for (const bytes of [
    [0, 1, 5, 0],
    [0, 0, 7, 0],
    [0, 0, 7, 9, 1],
    [0, 200],
  ]) {
    assert.throws(() => unpackCommit(Uint8Array.from(bytes)), { code: 'STORE_CORRUPT' })
  }
})
