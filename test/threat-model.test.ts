/** docs/threat-model.md names the test of each claim: the names must be those of tests. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

const REFERENCE = /`((?:integration|src)\/[\w/-]+)` ([^|;`]+?)(?= *[|;)])/g

test('every test that the threat model names exists', () => {
  const text = readFileSync('docs/threat-model.md', 'utf8')
  const references = [...text.matchAll(REFERENCE)]
  assert.ok(references.length > 40, 'the pattern still fits the page')
  for (const [, name = '', title = ''] of references) {
    const folder = name.startsWith('src/') ? '' : 'test/'
    const file = `${folder}${name}.test.ts`
    // A quote inside of a title is typed with a backslash, or the title in other quotes.
    const source = readFileSync(file, 'utf8').replaceAll('\\', '')
    assert.ok(source.includes(title), `${file} has no test "${title}"`)
  }
})
