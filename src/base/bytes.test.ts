import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromUtf8, utf8 } from './bytes.ts'

test('texts come back as they were, a leading U+FEFF too', () => {
  assert.equal(fromUtf8(utf8('\ufeffa')), '\ufeffa')
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => assert.equal(fromUtf8(utf8(text)), text)),
  )
})
