import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { SeededRandom } from '../base/random.ts'
import { saslPrepare } from './sasl-prepare.ts'
import {
  fromBase64,
  makeVerifier,
  parseVerifier,
  toBase64,
  verifierText,
} from './scram-verifier.ts'

const random = new SeededRandom(1)

suite('SCRAM verifiers', () => {
  test('only whole verifiers are read', async () => {
    const verifier = await makeVerifier('x', random, { iterations: 1 })
    const whole = verifierText(verifier)
    assert.match(whole, /^SCRAM-SHA-256\$1:[^$]+\$[^:]+:[^:]+$/)
    assert.deepEqual(parseVerifier(whole), verifier)
    for (let length = 0; length < whole.length; length++) {
      assert.equal(parseVerifier(whole.slice(0, length)), undefined)
    }
    assert.equal(parseVerifier(whole.replace('$1:', '$0:')), undefined)
    assert.equal(parseVerifier('md5abc'), undefined)
  })

  test('base64 there and back, and nothing but base64', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), (bytes) =>
        assert.deepEqual(fromBase64(toBase64(bytes)), Uint8Array.from(bytes)),
      ),
    )
    for (const bad of ['', 'A', 'AA=', 'AAA=A', 'AB==', '====', 'A A='])
      assert.equal(fromBase64(bad), undefined, bad)
  })

  test('SASLprep: the examples of RFC 4013, section 3', () => {
    assert.equal(saslPrepare('I\u00adX'), 'IX')
    assert.equal(saslPrepare('user'), 'user')
    assert.equal(saslPrepare('\u00aa'), 'a')
    assert.equal(saslPrepare('\u2168'), 'IX')
    assert.equal(saslPrepare('\u0007ä'), '\u0007ä', 'a forbidden password is used as it is')
  })
})
