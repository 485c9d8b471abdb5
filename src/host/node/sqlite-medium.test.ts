import assert from 'node:assert/strict'
import fs, { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs'
import { statSync, symlinkSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Store } from '../../store/store.ts'
import { Template } from '../../store/template.ts'
import { sqliteError } from './sqlite-medium-error.ts'
import { NodeSqliteMedium, sqliteLogOf } from './sqlite-medium.ts'
import { storeOptions } from '../../../test/support/store-options.ts'
import { testFolder } from '../../../test/support/temporary-folder.ts'

const folder = testFolder()

test('a file that is open is refused to others at once', () => {
  const path = join(folder, 'locked.db')
  {
    using medium = new NodeSqliteMedium(path)
    medium.exec('CREATE TABLE t (x)')
    assert.throws(() => new NodeSqliteMedium(path), { code: 'STORE_LOCKED', hint: /other pgnap/ })
    assert.equal(medium.get('SELECT count(*) FROM t')?.[0], 0)
  }
  using again = new NodeSqliteMedium(path)
  assert.equal(again.get('SELECT count(*) FROM t')?.[0], 0)
})

test('opening a file that is there writes nothing', () => {
  const path = join(folder, 'reopened.db')
  {
    using made = new NodeSqliteMedium(path)
    made.exec('CREATE TABLE t (x)')
  }
  using medium = new NodeSqliteMedium(path)
  assert.equal(medium.get('SELECT count(*) FROM t')?.[0], 0)
  assert.equal(medium.get('PRAGMA auto_vacuum')?.[0], 2, 'incremental, from when it was made')
  // On a full disk what cannot be written could not be opened either.
  assert.equal(statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0, 0)
})

test('what a log holds that is found is in the file before anybody is told of it', () => {
  const path = join(folder, 'crashed.db')
  using medium = new NodeSqliteMedium(path)
  medium.exec('CREATE TABLE t (x)')
  medium.checkpoint()
  medium.transaction(() => medium.run('INSERT INTO t VALUES (1)'))
  const left = join(folder, 'left.db')
  for (const suffix of ['', '-wal']) copyFileSync(`${path}${suffix}`, `${left}${suffix}`)
  using reopened = new NodeSqliteMedium(left)
  assert.equal(reopened.get('SELECT count(*) FROM t')?.[0], 1)
  copyFileSync(left, join(folder, 'alone.db'))
  using alone = new NodeSqliteMedium(join(folder, 'alone.db'))
  assert.equal(alone.get('SELECT count(*) FROM t')?.[0], 1)
})

test('an empty tenant is one file of at most 32 KB after closing', () => {
  const path = join(folder, 'empty.db')
  const store = Store.open(new NodeSqliteMedium(path), storeOptions(Template.empty()))
  store.close()
  store.close()
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('empty')),
    ['empty.db'],
  )
  assert.ok(statSync(path).size <= 32_768, `${statSync(path).size} bytes`)
})

test('what is no database, or cannot be opened, is told apart', () => {
  const path = join(folder, 'text.db')
  writeFileSync(path, 'this is not a database, and it is long enough to have a header '.repeat(20))
  assert.throws(() => new NodeSqliteMedium(path), { code: 'STORE_CORRUPT', hint: /pgnap verify/ })
  const missing = join(folder, 'no', 'such', 'folder.db')
  assert.throws(() => new NodeSqliteMedium(missing), { code: 'STORE_IO' })
})

test('result codes of SQLite become codes that say what to do', () => {
  const codes = {
    5: 'STORE_LOCKED',
    13: 'STORE_FULL',
    10: 'STORE_IO',
    11: 'STORE_CORRUPT',
    8: 'STORE_IO',
  }
  for (const [errcode, code] of Object.entries(codes)) {
    // Extended codes carry more in their upper bytes.
    const error = Object.assign(new Error('text'), { errcode: Number(errcode) + 256 * 3 })
    assert.throws(
      () => {
        throw sqliteError(error)
      },
      { code, cause: error },
    )
  }
  const constraint = Object.assign(new Error('text'), { errcode: 19 })
  assert.throws(
    () => {
      throw sqliteError(constraint)
    },
    { code: 'INTERNAL', cause: constraint },
  )
})

test('a full database fails the transaction whole and works again when there is room', () => {
  using medium = NodeSqliteMedium.inMemory()
  medium.exec('CREATE TABLE t (data)')
  medium.get('PRAGMA max_page_count = 20')
  const fill = (): void =>
    medium.transaction(() => {
      for (let row = 0; row < 40; row++) medium.run('INSERT INTO t VALUES (zeroblob(4000))')
    })
  assert.throws(fill, { code: 'STORE_FULL', hint: /free space/ })
  assert.equal(medium.get('SELECT count(*) FROM t')?.[0], 0)
  medium.get('PRAGMA max_page_count = 2000')
  fill()
  assert.equal(medium.get('SELECT count(*) FROM t')?.[0], 40)
})

test('the log of a file that is a link is where SQLite has it', async () => {
  const disk = join(folder, 'disk')
  mkdirSync(disk)
  const file = join(disk, 'file.db')
  new NodeSqliteMedium(file)[Symbol.dispose]()
  const link = join(folder, 'link.db')
  symlinkSync(file, link)
  {
    using medium = new NodeSqliteMedium(link)
    medium.exec('CREATE TABLE t (x)')
    assert.equal(sqliteLogOf(link), `${file}-wal`)
    assert.ok(existsSync(sqliteLogOf(link)))
    await insertAhead(medium)
  }
  assert.deepEqual(readdirSync(disk), ['file.db'])
  symlinkSync(join(disk, 'missing.db'), join(folder, 'nowhere.db'))
  assert.equal(sqliteLogOf(join(folder, 'nowhere.db')), join(folder, 'nowhere.db-wal'))
})

type Sync = typeof fs.fdatasync

/** Puts something else in the place of fdatasync until the test has ended. */
function replaceSync(context: TestContext, sync: (...parameters: Parameters<Sync>) => void): void {
  context.mock.method(fs, 'fdatasync', sync)
  syncBuiltinESMExports()
  context.after(() => {
    context.mock.restoreAll()
    syncBuiltinESMExports()
  })
}

function insertAhead(medium: NodeSqliteMedium): Promise<void> | undefined {
  const insert = (): number => medium.run('INSERT INTO t VALUES (1)')
  return medium.commitAhead(() => void medium.transaction(insert))?.()
}

test('a sync that fails is an error, and the end of the medium', async (context) => {
  const failures = { EIO: 'STORE_IO', ENOSPC: 'STORE_FULL' } as const
  let cause: Error | undefined
  replaceSync(context, (_, done) => queueMicrotask(() => done(cause ?? null)))
  for (const [code, expected] of Object.entries(failures)) {
    const path = join(folder, `${code}.db`)
    const medium = new NodeSqliteMedium(path)
    medium.exec('CREATE TABLE t (x)')
    await insertAhead(medium)
    cause = Object.assign(new Error(code), { code })
    const failed = { code: expected, cause, detail: `sync: ${code}` }
    await assert.rejects(insertAhead(medium) ?? Promise.resolve(), failed)
    assert.throws(() => medium.get('SELECT 1'), failed)
    assert.throws(() => medium.transaction(() => 1), failed)
    medium[Symbol.dispose]()
    cause = undefined
    using again = new NodeSqliteMedium(path)
    assert.ok(Number(again.get('SELECT count(*) FROM t')?.[0]) >= 1, 'what was told is there')
  }
})

test('a descriptor is not closed under a sync, and not kept after it', async (context) => {
  const path = join(folder, 'closing.db')
  const medium = new NodeSqliteMedium(path)
  medium.exec('CREATE TABLE t (x)')
  const asked = Promise.withResolvers<{ descriptor: number; done: fs.NoParamCallback }>()
  replaceSync(context, (descriptor, done) => asked.resolve({ descriptor, done }))
  const synced = insertAhead(medium)
  const { descriptor, done } = await asked.promise
  medium[Symbol.dispose]()
  fs.fstatSync(descriptor)
  done(null)
  await synced
  assert.throws(() => fs.fstatSync(descriptor), { code: 'EBADF' })
})

test('only a commit ahead is left without a sync of its own', async () => {
  using medium = new NodeSqliteMedium(join(folder, 'modes.db'))
  medium.exec('CREATE TABLE t (x)')
  const mode = (): unknown => medium.get('PRAGMA synchronous')?.[0]
  assert.equal(mode(), 2)
  await insertAhead(medium)
  assert.equal(mode(), 1)
  medium.transaction(() => medium.run('INSERT INTO t VALUES (1)'))
  assert.equal(mode(), 2)
})

const EIO = Object.assign(new Error('EIO'), { code: 'EIO' })

test('of two syncs at once both fail, of which the system tells one', async (context) => {
  using medium = new NodeSqliteMedium(join(folder, 'twice.db'))
  medium.exec('CREATE TABLE t (x)')
  let told = false
  replaceSync(context, (_, done) => {
    const failure = told ? null : EIO
    told = true
    setImmediate(() => done(failure))
  })
  const insert = (): number => medium.run('INSERT INTO t VALUES (1)')
  const syncs = [1, 2].map(() => medium.commitAhead(() => void medium.transaction(insert)))
  const ends = await Promise.allSettled(syncs.map((sync) => sync?.() ?? Promise.resolve()))
  assert.deepEqual(
    ends.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  await assert.rejects(syncs[0]?.() ?? Promise.resolve(), { code: 'STORE_IO' })
})

test('our descriptor of the log is there before anything is written unsynced', (context) => {
  const path = join(folder, 'watched.db')
  using medium = new NodeSqliteMedium(path)
  medium.exec('CREATE TABLE t (x)')
  const opened = context.mock.method(fs, 'openSync')
  syncBuiltinESMExports()
  context.after(() => {
    context.mock.restoreAll()
    syncBuiltinESMExports()
  })
  const openedPaths = (): unknown[] => opened.mock.calls.map(({ arguments: [name] }) => name)
  medium.commitAhead(() => assert.deepEqual(openedPaths(), [sqliteLogOf(path)]))
  // Without it SQLite makes the sync itself.
  const other = join(folder, 'unwatched.db')
  using blind = new NodeSqliteMedium(other)
  blind.exec('CREATE TABLE t (x)')
  opened.mock.mockImplementation(() => {
    throw Object.assign(new Error('EMFILE'), { code: 'EMFILE' })
  })
  assert.equal(insertAhead(blind), undefined)
  assert.equal(blind.get('PRAGMA synchronous')?.[0], 2)
})

test('a log that was left, and cannot be synced, is told to whoever asks', async (context) => {
  const path = join(folder, 'left-open.db')
  const medium = new NodeSqliteMedium(path)
  medium.exec('CREATE TABLE t (x)')
  const sync = medium.commitAhead(() => {
    medium.transaction(() => medium.run('INSERT INTO t VALUES (1)'))
  })
  // SQLite leaves the log of a file that it does not find where it was.
  renameSync(path, `${path}-moved`)
  context.mock.method(fs, 'fdatasyncSync', () => {
    throw EIO
  })
  syncBuiltinESMExports()
  medium[Symbol.dispose]()
  context.mock.restoreAll()
  syncBuiltinESMExports()
  assert.ok(existsSync(`${path}-wal`))
  await assert.rejects(sync?.() ?? Promise.resolve(), { code: 'STORE_IO', cause: EIO })
})
