/** `pgnap inspect` and `pgnap verify` as people and scripts read them: text and exit codes. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { type Outcome, runProgram, startServer } from '../support/server.ts'
import { testFolder } from '../support/temporary-folder.ts'

const data = testFolder()
const verb = (...words: readonly string[]): Promise<Outcome> =>
  runProgram([...words, '--data', data])

before(async () => {
  for (const sql of ["create table t as select 'to be found'::text as x", 'checkpoint']) {
    const made = await verb('sql', 'acme', sql)
    assert.equal(made.status, 0, made.stderr)
  }
})

test('inspect prints a line for each fact, and exits 0', async () => {
  const { status, stdout, stderr } = await verb('inspect', 'acme')
  assert.deepEqual([status, stderr], [0, ''])
  assert.match(stdout, /^meta\.fingerprint +[0-9a-f]{32}$/m)
  assert.match(stdout, /^size +\d+ kB$/m)
  assert.match(stdout, /^tables\n table \| rows \| value\n-[-+]+\n page {2}\| +\d+ \| +[\d.]+ kB$/m)
  assert.match(stdout, /^layers\n id \| name .*\n-[-+]+\n +0 \| main /m)
  const json = await verb('inspect', 'acme', '--json')
  assert.equal(json.status, 0)
  assert.match(json.stdout, /^\{"meta":\{.*\}\n$/)
})

test('verify of a sound tenant says so in one line, and exits 0', async () => {
  const { status, stdout, stderr } = await verb('verify', 'acme')
  assert.deepEqual([status, stderr], [0, ''])
  assert.match(stdout, /^acme is sound: \d{2,} tables, \d{3} indexes\n$/)
  const { problems } = JSON.parse((await verb('verify', 'acme', '--json')).stdout) as {
    problems: string[]
  }
  assert.deepEqual(problems, [])
})

test('a tenant that does not exist, a name that is none, and a folder in use are 1', async () => {
  for (const name of ['inspect', 'verify']) {
    const unknown = await verb(name, 'nobody')
    assert.deepEqual([unknown.status, unknown.stdout], [1, ''])
    assert.match(unknown.stderr, /^pgnap: tenant "nobody" does not exist\nhint: /)
    const wrong = await verb(name, 'No Name', '--json')
    assert.equal(wrong.status, 1)
    assert.match(wrong.stderr, /^\{"error":\{"code":"TENANT_NAME_INVALID","sqlState":"3D000"/)
  }
  await using server = await startServer({ data })
  const held = await verb('inspect', 'acme')
  assert.deepEqual([held.status, held.stdout], [1, ''])
  assert.match(held.stderr, new RegExp(`is in use by process ${server.pid}, .*\nhint: stop that`))
})

test('verify of a damaged tenant names each problem on stdout, and is 1', async () => {
  const path = join(data, 'tenants', 'acme.db')
  const bytes = readFileSync(path)
  let at = bytes.indexOf('to be found')
  assert.ok(at > 0, 'the row is in the file')
  for (; at > 0; at = bytes.indexOf('to be found', at)) bytes[at] = 0x41
  writeFileSync(path, bytes)
  const { status, stdout, stderr } = await verb('verify', 'acme')
  assert.equal(status, 1)
  assert.match(stdout, /^table \d+: invalid page in block 0.*\n/)
  assert.match(stderr, /^pgnap: acme is damaged: \d+ problems?\nhint: keep a copy of the /)
})
