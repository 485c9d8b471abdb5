import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

test('this V8 knows each of the flags: of others it complains', () => {
  const code = `import * as flags from './v8-flags.ts'
    flags.makeRoom()
    flags.favourFirstRow()
    flags.favourNobody()
    flags.validatingLazily(() => {})`
  const words = ['--input-type=module', '-e', code]
  const { status, stderr } = spawnSync(process.execPath, words, {
    cwd: import.meta.dirname,
    encoding: 'utf8',
  })
  assert.equal(stderr, '')
  assert.equal(status, 0)
})
