import { strict as assert } from 'node:assert'
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess, SpawnSyncReturns } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import type { ErrorCode } from '../../base/errors.ts'
import { explainFolderError, openDataFolder, ownerAddress } from './data-folder.ts'
import { watchSyncs } from '../../../test/support/synced-folders.ts'
import { testFolder } from '../../../test/support/temporary-folder.ts'

const clock = new ManualClock(Date.UTC(2026, 10, 21, 5, 0, 0))

function expectCode(code: ErrorCode, text: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof PgnapError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, text)
    assert.ok(error.hint !== undefined && error.hint !== '')
    return true
  }
}

/** A program that opens `path` in another process and says what became of it. */
function opener(path: string): string[] {
  const program = `
    const url = ${JSON.stringify(import.meta.resolve('./data-folder.ts'))}
    const { openDataFolder } = await import(url)
    const { systemClock } = await import(${JSON.stringify(import.meta.resolve('./clock.ts'))})
    try {
      const folder = openDataFolder({ path: ${JSON.stringify(path)}, clock: systemClock })
      console.log('open')
      process.stdin.resume()
      process.stdin.on('end', () => folder[Symbol.dispose]())
    } catch (error) {
      console.log(error.code + ' ' + error.message)
    }`
  return ['--input-type=module', '-e', program]
}

const tryElsewhere = (path: string): SpawnSyncReturns<string> =>
  spawnSync(process.execPath, opener(path), { encoding: 'utf8', input: '', timeout: 60_000 })

async function holdElsewhere(t: TestContext, path: string): Promise<ChildProcess> {
  const holder = spawn(process.execPath, opener(path), { stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => holder.kill('SIGKILL'))
  assert.ok(holder.stdout)
  const [said] = (await once(holder.stdout, 'data')) as [Buffer]
  assert.equal(String(said).trim(), 'open')
  return holder
}

test('a missing folder is made, private, with its folder of tenants', () => {
  const path = join(testFolder(), 'a', 'b')
  using folder = openDataFolder({ path, clock })
  assert.equal(folder.path, path)
  assert.equal(folder.tenantsPath, join(path, 'tenants'))
  assert.ok(statSync(folder.tenantsPath).isDirectory())
  assert.equal(statSync(path).mode & 0o077, 0)
})

test('a folder that must exist is not made, nor is anything put into what is none', () => {
  const above = testFolder()
  writeFileSync(join(above, 'file'), '')
  for (const path of [join(above, 'typo'), above, join(above, 'file')]) {
    const refusal = expectCode('CONFIG_INVALID', /^there is no data folder at \//)
    assert.throws(() => openDataFolder({ path, clock, mustExist: true }), refusal)
  }
  assert.deepEqual(readdirSync(above), ['file'])
  const path = join(above, 'data')
  openDataFolder({ path, clock })[Symbol.dispose]()
  openDataFolder({ path, clock, mustExist: true })[Symbol.dispose]()
})

test('a folder that was made is there after the end of the machine', (context) => {
  const synced = watchSyncs(context)
  const above = testFolder()
  const path = join(above, 'a', 'b')
  using folder = openDataFolder({ path, clock })
  for (const holder of [above, join(above, 'a'), path]) assert.ok(synced(holder), holder)
  assert.equal(folder.path, path)
})

test('a folder that was given up can be opened again', () => {
  const path = testFolder()
  for (let round = 0; round < 3; round++) {
    const folder = openDataFolder({ path, clock })
    folder[Symbol.dispose]()
    folder[Symbol.dispose]()
  }
})

test('the same process cannot have a folder twice', () => {
  const path = testFolder()
  using _first = openDataFolder({ path, clock })
  assert.throws(() => openDataFolder({ path, clock }), expectCode('DATA_FOLDER_IN_USE', /in use/))
  // The refused attempt must not have loosened the first one's lock.
  assert.match(tryElsewhere(path).stdout, /^DATA_FOLDER_IN_USE /)
})

test('a second process is told the id and the start of the first', () => {
  const path = testFolder()
  using _folder = openDataFolder({ path, clock })
  const { stdout } = tryElsewhere(path)
  assert.match(stdout, /^DATA_FOLDER_IN_USE /)
  assert.ok(stdout.includes(`by process ${process.pid}, started 2026-11-21T05:00:00.000Z`), stdout)
})

test('after kill -9 of the holder the folder is free', async (t) => {
  const path = testFolder()
  const holder = await holdElsewhere(t, path)
  assert.throws(
    () => openDataFolder({ path, clock }),
    expectCode('DATA_FOLDER_IN_USE', new RegExp(`by process ${holder.pid},`)),
  )
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  using folder = openDataFolder({ path, clock })
  assert.equal(folder.path, path)
})

test('an owner note that makes no sense does not hide that the folder is in use', () => {
  const path = testFolder()
  using _folder = openDataFolder({ path, clock })
  for (const note of ['', 'null', '{"pid":', '{"pid":1}']) {
    writeFileSync(join(path, 'pgnap.owner.json'), note)
    assert.throws(
      () => openDataFolder({ path, clock }),
      expectCode('DATA_FOLDER_IN_USE', /in use$/),
    )
  }
})

test('a file instead of a folder is named as what it is', () => {
  const path = join(testFolder(), 'file')
  writeFileSync(path, 'x')
  const refusal = expectCode('CONFIG_INVALID', /is not a folder/)
  assert.throws(() => openDataFolder({ path, clock }), refusal)
  assert.throws(() => openDataFolder({ path: join(path, 'below'), clock }), refusal)
})

test(
  'a place that takes no folder is an error, and not looked for without end',
  { skip: process.platform !== 'linux' && 'such a place is Linux’s /proc' },
  () => {
    for (const path of ['/proc/pgnap-data', '/proc/pgnap/data']) {
      assert.throws(() => openDataFolder({ path, clock }), expectCode('STORE_IO', /cannot be used/))
    }
  },
)

test('a lock file of somebody else is not overwritten', () => {
  const path = testFolder()
  writeFileSync(
    join(path, 'pgnap.lock'),
    'not an SQLite file at all, but long enough to look at '.repeat(20),
  )
  const refusal = expectCode('CONFIG_INVALID', /pgnap\.lock that pgnap did not write/)
  assert.throws(() => openDataFolder({ path, clock }), refusal)
})

test('a folder that this user may not write', () => {
  const path = join(testFolder(), 'locked')
  openDataFolder({ path, clock })[Symbol.dispose]()
  chmodSync(path, 0o500)
  const refusal = expectCode('CONFIG_INVALID', /cannot be written by this user/)
  // Root may write everywhere, so it becomes nobody for the length of one call.
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(65_534)
  try {
    assert.throws(() => openDataFolder({ path, clock }), refusal)
  } finally {
    if (isRoot) process.seteuid?.(0)
    chmodSync(path, 0o700)
  }
})

test('what a disk may answer becomes an error that says what to do', () => {
  const cases: readonly (readonly [string, ErrorCode, RegExp])[] = [
    ['EROFS', 'CONFIG_INVALID', /read-only disk/],
    ['EACCES', 'CONFIG_INVALID', /cannot be written by this user/],
    ['EPERM', 'CONFIG_INVALID', /cannot be written by this user/],
    ['ENOSPC', 'STORE_FULL', /no space left/],
    ['EIO', 'STORE_IO', /cannot be used: broken/],
  ]
  for (const [systemCode, code, text] of cases) {
    const error = Object.assign(new Error('broken'), { code: systemCode })
    expectCode(code, text)(explainFolderError('/data', error))
    assert.equal(explainFolderError('/data', error).cause, error)
  }
})

test('the owner tells others where it answers, for as long as it holds the folder', () => {
  const path = join(testFolder(), 'data')
  const folder = openDataFolder({ path, clock: new ManualClock() })
  assert.equal(ownerAddress(path), undefined)
  folder.announce('http://127.0.0.1:6480')
  assert.deepEqual(ownerAddress(path), { url: 'http://127.0.0.1:6480', certificate: undefined })
  const secure = { url: 'https://127.0.0.1:6480', certificate: 'PEM' }
  folder.announce(secure.url, secure.certificate)
  assert.deepEqual(ownerAddress(path), secure)
  folder[Symbol.dispose]()
  using next = openDataFolder({ path, clock: new ManualClock() })
  assert.equal(ownerAddress(next.path), undefined)
})
