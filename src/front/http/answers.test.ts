import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { resultOf } from '../../../test/support/fake-control.ts'
import { jsonReaders, readRowArrays, readRowObjects } from '../values.ts'
import { leastRowsBytes } from './answers.ts'

test('no rows are shorter than what is said to be the least of them', () => {
  const name = fc.oneof(fc.constantFrom('a', 'b', ''), fc.string({ unit: 'binary' }))
  const type = fc.constantFrom(16, 20, 23, 25, 114, 701, 1007)
  const value = fc.constantFrom('1', '', 't', '{}', ' 1 ', 'NaN', null)
  const columns = fc.array(fc.tuple(name, type), { maxLength: 5 })
  const property = fc.property(columns, fc.nat(5), fc.gen(), (asked, rowCount, pick) => {
    const row = (): (string | null)[] => asked.map(() => pick(() => value))
    const result = resultOf(asked, Array.from({ length: rowCount }, row))
    const arrays = JSON.stringify(readRowArrays(result, jsonReaders))
    const objects = JSON.stringify(readRowObjects(result, jsonReaders))
    assert.ok(leastRowsBytes({ result, arrayMode: true }) <= Buffer.byteLength(arrays))
    assert.ok(leastRowsBytes({ result, arrayMode: false }) <= Buffer.byteLength(objects))
  })
  fc.assert(property)
})
