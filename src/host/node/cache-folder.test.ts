import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { testFolder } from '../../../test/support/temporary-folder.ts'

const PROGRAM = `
  const { keepCompiledCode } = await import(process.argv[1])
  keepCompiledCode()
  const { getCompileCacheDir } = await import('node:module')
  console.log(getCompileCacheDir() ?? 'nowhere')
`

/** Where code is kept in a process with these variables. */
function keptIn(cwd: string, env: NodeJS.ProcessEnv): string {
  const module = join(import.meta.dirname, 'cache-folder.ts')
  const words = ['--input-type=module', '-e', PROGRAM, module]
  const { stdout, stderr } = spawnSync(process.execPath, words, { cwd, env, encoding: 'utf8' })
  assert.equal(stderr, '')
  return stdout.trim()
}

test('compiled code is kept where only its user may write', () => {
  const folder = testFolder()
  const kept = keptIn(folder, { PGNAP_CACHE: join(folder, 'cache') })
  assert.ok(kept.startsWith(join(folder, 'cache', 'code')), kept)
  assert.equal(statSync(join(folder, 'cache', 'code')).mode & 0o077, 0)
})

test('where others may write, or in a folder that is relative, nothing is kept', () => {
  const folder = testFolder()
  const code = join(folder, 'shared', 'code')
  mkdirSync(code, { recursive: true })
  chmodSync(code, 0o777)
  assert.equal(keptIn(folder, { PGNAP_CACHE: join(folder, 'shared') }), 'nowhere')
  assert.equal(keptIn(folder, { PGNAP_CACHE: 'relative' }), 'nowhere')
  assert.ok(!existsSync(join(folder, 'relative')))
})
