import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { testFolder } from '../../../test/support/temporary-folder.ts'

const TEXT = '(function (name) { const greet = () => `hello, ${name}`; return greet() })'

/**
 * What runs in a process of its own: what was kept is of use to the next one. What is compiled is
 * kept half a second later; of what was kept, nothing is to be waited for.
 */
const PROGRAM = `
  import { enableCompileCache } from 'node:module'
  import { Script } from 'node:vm'
  const [, folder, text] = process.argv
  if (folder) enableCompileCache(folder)
  const { runKept } = await import('./kept-code.ts')
  const run = Script.prototype.runInThisContext
  let waitMs = 0
  Script.prototype.runInThisContext = function () {
    if (this.cachedDataRejected === undefined) waitMs = 600
    console.log(waitMs > 0 ? 'compiled' : 'kept')
    return run.call(this)
  }
  console.log(runKept(text, '/some/greeting.js')('reader'))
  setTimeout(() => {}, waitMs)
`

function start(folder: string, text: string): readonly string[] {
  const words = ['--input-type=module', '-e', PROGRAM, folder, text]
  const options = { cwd: import.meta.dirname, encoding: 'utf8' } as const
  const { stdout, stderr, status } = spawnSync(process.execPath, words, options)
  assert.equal(status, 0, stderr)
  return stdout.trim().split('\n')
}

function keptIn(folder: string): readonly string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return names.filter((name) => name.endsWith('.code')).map((name) => join(folder, name))
}

test('code is kept for the next start, for each text of a name', () => {
  const folder = testFolder()
  assert.deepEqual(start(folder, TEXT), ['compiled', 'hello, reader'])
  assert.deepEqual(start(folder, TEXT), ['kept', 'hello, reader'])
  // As long as the former one, which is all that V8 itself would look at.
  assert.deepEqual(start(folder, TEXT.replace('hello', 'salut')), ['compiled', 'salut, reader'])
  assert.equal(keptIn(folder).length, 2)
  assert.deepEqual(start(folder, TEXT), ['kept', 'hello, reader'])
})

test('damaged code is not run, and replaced', () => {
  const folder = testFolder()
  start(folder, TEXT)
  const [file] = keptIn(folder)
  assert.ok(file)
  const bytes = readFileSync(file)
  const middle = bytes.length >> 1
  bytes[middle] = (bytes[middle] ?? 0) ^ 0x40
  for (const damaged of [bytes, bytes.subarray(0, 40), Buffer.alloc(0)]) {
    writeFileSync(file, damaged)
    assert.deepEqual(start(folder, TEXT), ['compiled', 'hello, reader'])
  }
  assert.deepEqual(start(folder, TEXT), ['kept', 'hello, reader'])
})

test('without a cache, or one that cannot be written, everything is as usual', () => {
  assert.deepEqual(start('', TEXT), ['compiled', 'hello, reader'])
  const file = join(testFolder(), 'file')
  writeFileSync(file, 'no folder')
  assert.deepEqual(start(file, TEXT), ['compiled', 'hello, reader'])
})

test('a folder that goes away while it is used is made again, or done without', () => {
  const folder = testFolder()
  const removal = `process.getBuiltinModule('node:fs').rmSync('${folder}', { recursive: true })`
  const replaced = `process.getBuiltinModule('node:fs').writeFileSync('${folder}', '')`
  const text = (more: string): string => TEXT.replace('const', `${removal}; ${more}; const`)
  assert.deepEqual(start(folder, text('')), ['compiled', 'hello, reader'])
  assert.equal(keptIn(folder).length, 1)
  assert.deepEqual(start(folder, text(replaced)), ['compiled', 'hello, reader'])
})

test('code that nobody has used for long goes when other code is kept', () => {
  const folder = testFolder()
  start(folder, TEXT)
  const [file] = keptIn(folder)
  assert.ok(file)
  const unfinished = `${file}.4711-1`
  writeFileSync(unfinished, 'half')
  const past = new Date(Date.now() - 31 * 24 * 60 * 60_000)
  for (const path of [file, unfinished]) utimesSync(path, past, past)
  start(folder, TEXT.replace('hello', 'salut'))
  assert.equal(keptIn(folder).length, 1)
  assert.ok(!existsSync(file) && !existsSync(unfinished))
})
