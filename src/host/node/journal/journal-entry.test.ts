import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PgnapError } from '../../../base/errors.ts'
import type { PageKey, TenantName, Version } from '../../../base/ids.ts'
import { type JournalEntry, packEntry, unpackEntry } from './journal-entry.ts'

const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => bytes.toHex())
/** As an object literal is. */
const record = <Fields extends object>(model: {
  [Name in keyof Fields]: fc.Arbitrary<Fields[Name]>
}): fc.Arbitrary<Fields> =>
  fc.record(model, { noNullPrototype: true }) as unknown as fc.Arbitrary<Fields>
const entry = record<JournalEntry>({
  tenant: fc.stringMatching(/^[a-z][a-z0-9_]{0,20}$/).map((name) => name as TenantName),
  commit: record({
    storeId: id,
    owner: id,
    epoch: fc.nat(),
    version: fc.maxSafeNat().map((version) => version as Version),
    atMs: fc.maxSafeNat(),
    changes: record({
      puts: fc.uniqueArray(
        record({
          key: fc.nat(2 ** 30).map((key) => key as PageKey),
          data: fc.uint8Array({ maxLength: 200 }).map((data) => Uint8Array.from(data)),
        }),
        { selector: ({ key }) => key },
      ),
      deletions: fc.array(
        fc.nat(2 ** 30).map((key) => ({ from: key as PageKey, to: (key + 1) as PageKey })),
      ),
    }),
  }),
})

test('entries come out as they went in', () => {
  fc.assert(
    fc.property(entry, (each) => {
      assert.deepEqual(unpackEntry(packEntry(each)), each)
    }),
  )
})

test('bytes that are no entry are damage, and crash nobody', () => {
  const cut = fc.tuple(entry, fc.double({ min: 0, max: 0.999, noNaN: true }))
  const some = cut.map(([each, part]) => {
    const bytes = packEntry(each)
    return bytes.subarray(0, Math.floor(bytes.length * part))
  })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), some), (bytes) => {
      try {
        unpackEntry(bytes)
      } catch (error) {
        assert.ok(error instanceof PgnapError && error.code === 'STORE_CORRUPT', String(error))
      }
    }),
  )
})
