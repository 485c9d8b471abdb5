import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isPrefix } from '../base/bytes.ts'
import type { InodeNo, Version } from '../base/ids.ts'
import { contentAt, extendHistory, tailOf } from './append-history.ts'
import { decodeRecord, encodeRecord } from './inode-record.ts'
import { KeyRuns } from './key-runs.ts'
import {
  CHUNKS_PER_INODE,
  INODES_MAX,
  RECORD_KEYS,
  chunkKey,
  chunkOfChunkKey,
  inodeOfChunkKey,
} from './keys.ts'
import { VarintReader, putVarint } from './varint.ts'

const CORRUPT = { code: 'STORE_CORRUPT' }
const unsigned = fc.oneof(fc.nat(300), fc.maxSafeNat())

test('varints read back, in a row, and cut short they are damage', () => {
  fc.assert(
    fc.property(fc.array(unsigned, { minLength: 1 }), (values) => {
      const out: number[] = []
      for (const value of values) putVarint(out, value)
      const reader = new VarintReader(Uint8Array.from(out))
      assert.deepEqual(
        values.map(() => reader.next()),
        values,
      )
      assert.equal(reader.done, true)
      assert.throws(() => reader.next(), CORRUPT)
    }),
  )
  assert.throws(() => new VarintReader(new Uint8Array(12).fill(255)).next(), CORRUPT)
  assert.throws(() => putVarint([], -1), { name: 'AssertionError' })
  assert.throws(() => putVarint([], 1.5), { name: 'AssertionError' })
})

test('key runs are the set of their keys, encoded or not', () => {
  const key = fc.oneof(fc.nat(60), fc.integer({ min: 0, max: 2 ** 44 - 1 }))
  fc.assert(
    fc.property(fc.array(key), fc.array(key), (some, others) => {
      const expected = [...new Set(some)].toSorted((a, b) => a - b)
      const runs = KeyRuns.of(some)
      assert.deepEqual([...runs], expected)
      assert.equal(runs.size, expected.length)
      const decoded = KeyRuns.decode(runs.encode())
      assert.deepEqual([...(decoded ?? [])], expected)
      for (const one of others) assert.equal(runs.has(one), expected.includes(one))
      const union = KeyRuns.union([runs, KeyRuns.of(others)])
      assert.deepEqual([...union], [...KeyRuns.of([...some, ...others])])
      assert.equal(union.runCount, KeyRuns.of([...some, ...others]).runCount)
    }),
  )
})

test('a list of keys that would be too long says that it is not listed', () => {
  const scattered = KeyRuns.of(Array.from({ length: 1000 }, (_, index) => index * 3))
  const bytes = scattered.encode(1000)
  assert.deepEqual([...bytes], [0])
  assert.equal(KeyRuns.decode(bytes), undefined)
  for (const damaged of [
    [],
    [2],
    [0, 0],
    [1, 5],
    [1, 1, 0, 0, 0],
    [1, 255, 255, 255, 255, 255, 255, 255, 15, 0],
  ]) {
    assert.throws(() => KeyRuns.decode(Uint8Array.from(damaged)), CORRUPT, String(damaged))
  }
})

test('a history gives every older content back', () => {
  const append = fc.tuple(fc.integer({ min: 1, max: 1000 }), fc.uint8Array({ maxLength: 300 }))
  fc.assert(
    fc.property(fc.nat(1000), fc.array(append, { maxLength: 40 }), (start, appends) => {
      const since = start as Version
      let version: number = since
      let data = Uint8Array.of(1, 2, 3)
      let history: Uint8Array | null = null
      const contents: [number, Uint8Array][] = [[version, data]]
      for (const [step, bytes] of appends) {
        version += step
        history = extendHistory(history, tailOf(since, history), version as Version, data.length)
        data = Uint8Array.of(...data, ...bytes)
        contents.push([version, data])
      }
      for (const [index, [at, content]] of contents.entries()) {
        const until = contents[index + 1]?.[0] ?? at + 5
        for (const asked of [at, until - 1]) {
          assert.deepEqual(contentAt({ since, history, data }, asked), content)
        }
        assert.ok(isPrefix(content, data))
      }
    }),
  )
})

test('file records read back, and damaged ones are told', () => {
  const facts = fc.record({
    mode: fc.nat(0o177777),
    sizeBytes: fc.nat(2 ** 31),
    chunkBytes: fc.constantFrom(4096, 8192),
    modifiedMs: fc.nat(2 ** 42),
    parent: fc.integer({ min: 0, max: INODES_MAX - 1 }),
    name: fc.string({ unit: 'grapheme', maxLength: 40 }),
  })
  fc.assert(
    fc.property(facts, fc.double({ min: 0, max: 1, noNaN: true }), (some, share) => {
      const baseBytes = Math.floor(some.sizeBytes * share)
      const record = { ...some, baseBytes, parent: some.parent as InodeNo }
      assert.deepEqual(decodeRecord(encodeRecord(record)), record)
    }),
  )
  assert.throws(() => decodeRecord(Uint8Array.of(2, 1, 1, 1, 1, 1, 1)), CORRUPT)
  assert.throws(() => decodeRecord(Uint8Array.of(1, 1, 1)), CORRUPT)
  assert.throws(() => decodeRecord(Uint8Array.of(1, 1, 0, 1, 1, 1, 1)), CORRUPT)
})

test('keys of records and chunks never meet, and come apart again', () => {
  const inode = fc.integer({ min: 1, max: INODES_MAX - 1 })
  fc.assert(
    fc.property(inode, fc.nat(CHUNKS_PER_INODE - 1), (number, chunk) => {
      const key = chunkKey(number as InodeNo, chunk)
      assert.ok(key >= RECORD_KEYS && key < 2 ** 44)
      assert.equal(inodeOfChunkKey(key), number)
      assert.equal(chunkOfChunkKey(key), chunk)
      assert.equal(
        chunkKey(number as InodeNo, CHUNKS_PER_INODE),
        chunkKey((number + 1) as InodeNo, 0),
      )
    }),
  )
})
