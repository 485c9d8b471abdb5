import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { linesOf } from './lines.ts'

test('lines are the same however the bytes come', async () => {
  const text = fc.string({ unit: fc.constantFrom('a', '\n', '\r', '€') })
  await fc.assert(
    fc.asyncProperty(text, fc.integer({ min: 1, max: 5 }), async (content, size) => {
      const bytes = Buffer.from(content)
      async function* chunks(): AsyncGenerator<Uint8Array> {
        for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
      }
      const lines: string[] = []
      for await (const line of linesOf(chunks())) lines.push(String(line))
      assert.deepEqual(lines, content === '' ? [] : content.split(/(?<=\n)/))
    }),
  )
})
