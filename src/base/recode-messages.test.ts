import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, utf8 } from './bytes.ts'
import { message } from './protocol-message.ts'
import { recodeMessages } from './recode-messages.ts'

/** To ISO 8859-1, where there is no euro sign. */
function convert(text: Uint8Array): Uint8Array | undefined {
  const letters = Buffer.from(text).toString()
  return letters.includes('€') ? undefined : new Uint8Array(Buffer.from(letters, 'latin1'))
}
const report = (...texts: string[]): Uint8Array =>
  message('S', utf8(texts.map((text) => `${text}\0`).join('')))
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'))

test('only texts of that type change, and only those that are UTF-8 and not ASCII', () => {
  const other = message('C', utf8('é\0'))
  const foreign = message('S', bytes('a\0\xe9\0'))
  const plain = report('a', 'b')
  const answer = concatBytes([other, report('é', 'x'), foreign, plain, report('€', 'ü')])
  assert.deepEqual(
    Buffer.from(recodeMessages(answer, { type: 'S', textsAt: 0, convert })),
    Buffer.concat([
      other,
      message('S', bytes('\xe9\0x\0')),
      foreign,
      plain,
      message('S', concatBytes([utf8('€\0'), bytes('\xfc\0')])),
    ]),
  )
  assert.equal(recodeMessages(plain, { type: 'S', textsAt: 0, convert }), plain)
})

test('what stands before the texts stays', () => {
  const given = message('A', concatBytes([Uint8Array.of(0, 0, 1, 0xe9), utf8('é\0é\0')]))
  const told = message('A', concatBytes([Uint8Array.of(0, 0, 1, 0xe9), bytes('\xe9\0\xe9\0')]))
  assert.deepEqual(recodeMessages(given, { type: 'A', textsAt: 4, convert }), told)
})
