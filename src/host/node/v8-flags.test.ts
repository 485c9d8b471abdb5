import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

test('this V8 knows each of the flags: for one that it does not know it complains', () => {
  const code = `import { endStart, setStartFlags } from './v8-flags.ts'; setStartFlags(); endStart()`
  const words = ['--input-type=module', '-e', code]
  const { status, stderr } = spawnSync(process.execPath, words, {
    cwd: import.meta.dirname,
    encoding: 'utf8',
  })
  assert.equal(stderr, '')
  assert.equal(status, 0)
})
