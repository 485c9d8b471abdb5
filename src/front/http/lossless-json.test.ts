import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseLossless } from './lossless-json.ts'

const again = (text: string): string => JSON.stringify(parseLossless(text))

test('numbers keep every digit, wherever they stand', () => {
  for (const [text, expected = text] of [
    ['9007199254740993'],
    ['{"a":[0.12345678901234567890,{"b":-1E+400}],"c":1}'],
    ['[1.50,1e3,-0.0,0e9]', '[1.5,1000,0,0]'],
    ['{"12345678901234567890":12345678901234567890}'],
    [String.raw`["\\",12345678901234567890,"\"12345678901234567890"]`],
    ['{"__proto__":12345678901234567890}'],
    ['["1e400","1e5"]'],
    [`[${'1'.repeat(100)}]`],
  ] as const) {
    assert.equal(again(text), expected)
  }
})

test('what is no JSON is none', () => {
  for (const text of ['', '[1e400', '1.2.3e400', '01e400', '[12345678901234567890-]', '1e400 1']) {
    assert.throws(() => parseLossless(text), SyntaxError, text)
  }
})

test('the rest is as from JSON.parse', () => {
  const value = fc.jsonValue({ stringUnit: 'binary' })
  fc.assert(
    fc.property(value, (each) => {
      const text = JSON.stringify(each)
      assert.deepEqual(parseLossless(text), JSON.parse(text))
      const beside = `[1e400,${text},"\\"",${text}]`
      const [first, second, , third] = parseLossless(beside) as unknown[]
      assert.deepEqual([second, third], [JSON.parse(text), JSON.parse(text)])
      assert.equal(JSON.stringify(first), '1e400')
    }),
  )
})
