import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { planCopies } from './copy-plan.ts'
import { fromBytes } from '../../base/bytes.ts'
import { withoutTrails } from './trail-bytes.ts'

/** Characters of each: alone, with a backslash or letters in them, of four bytes. */
const CHARACTERS: Readonly<Record<string, readonly string[]>> = {
  SJIS: ['\xb1', '\x95\x5c', '\x83\x43', '\xe0\x79'],
  BIG5: ['\xa5\x5c', '\xa4\x6f', '\xa4\xa4'],
  GBK: ['\x81\x5c', '\xfe\x43', '\xb1\xed'],
  UHC: ['\x81\x41', '\xb0\xa1', '\x9a\x59'],
  GB18030: ['\x81\x30\x81\x30', '\x81\x5c', '\x95\x32\x82\x36'],
}
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'))
const readable = (text: string, encoding: string): string =>
  fromBytes(withoutTrails(bytesOf(text), encoding))

for (const [encoding, characters] of Object.entries(CHARACTERS)) {
  test(`of ${encoding} only what is ASCII by itself looks so`, () => {
    const piece = fc.oneof(
      fc.constantFrom(...characters).map((text) => ({ text, isAscii: false })),
      fc.constantFrom(...Array.from(`aY0\\'"; $`)).map((text) => ({ text, isAscii: true })),
    )
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const text = pieces.map((each) => each.text).join('')
        const plain = Array.from(readable(text, encoding)).filter((letter) => letter < '\x80')
        assert.equal(plain.join(''), pieces.map((each) => (each.isAscii ? each.text : '')).join(''))
      }),
    )
  })

  test(`a COPY behind a text of ${encoding} is found, and one inside of it is not`, () => {
    for (const character of characters) {
      const behind = `select E'${character}'; copy t from stdin`
      assert.equal(planCopies(readable(behind, encoding))?.shapes.length, 1)
      const inside = `select E'${character}; copy t from stdin'`
      assert.equal(planCopies(readable(inside, encoding)), undefined)
    }
  })
}

test('a text that ends within a character keeps its end, and others are left alone', () => {
  const cut = bytesOf('a\x95\0')
  assert.deepEqual(withoutTrails(cut, 'SJIS'), cut)
  assert.deepEqual(withoutTrails(bytesOf('\x81\x30\x81'), 'GB18030').length, 3)
  for (const encoding of ['UTF8', 'LATIN1', 'EUC_JP', undefined]) {
    assert.equal(withoutTrails(cut, encoding), cut)
  }
})
