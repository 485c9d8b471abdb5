import assert from 'node:assert/strict'
import fs, { copyFileSync, existsSync, readdirSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { test, type TestContext } from 'node:test'
import type { PageKey, TenantName, Version } from '../../../base/ids.ts'
import type { Log, LogFields } from '../../../base/log.ts'
import { silentLog } from '../../../base/log.ts'
import type { MadeCommit } from '../../../store/commit-journal.ts'
import { MAIN } from '../../../store/keys.ts'
import { Store } from '../../../store/store.ts'
import { Template } from '../../../store/template.ts'
import { storeOptions } from '../../../../test/support/store-options.ts'
import { testFolder } from '../../../../test/support/temporary-folder.ts'
import { systemClock } from '../clock.ts'
import { systemRandom } from '../random.ts'
import { NodeSqliteMedium, sqliteLogOf } from '../sqlite-medium.ts'
import { readJournalFile } from './journal-file.ts'
import { journalsPath } from './journal-folder.ts'
import { ShardJournal } from './shard-journal.ts'

const template = Template.empty()
const root = testFolder()
let count = 0

class World {
  readonly dataPath = join(root, `${++count}`)
  readonly journal: ShardJournal
  readonly #stores = new Map<string, Store>()

  constructor(log: Log = silentLog) {
    fs.mkdirSync(this.dataPath)
    const place = { dataPath: this.dataPath, clock: systemClock, random: systemRandom }
    const options = { ...place, log, fileBytes: 64 * 1024 }
    this.journal = new ShardJournal(options)
  }

  path(name: string): string {
    return join(this.dataPath, `${name}.db`)
  }

  /** Opened, and written to once by this owner. */
  store(name: string): Store {
    const known = this.#stores.get(name)
    if (known) return known
    const medium = new NodeSqliteMedium(this.path(name))
    this.journal.bringHome(name as TenantName, medium)
    const journal = this.journal.of(name as TenantName, sqliteLogOf(this.path(name)))
    const store = Store.open(medium, { ...storeOptions(template), journal })
    store.commit(MAIN, store.head(), { puts: [], deletions: [] })
    this.#stores.set(name, store)
    return store
  }

  close(name: string): void {
    this.#stores.get(name)?.close()
    this.#stores.delete(name)
    this.journal.closed(name as TenantName)
  }

  /** Waits for the files of the journal, which the first commit asks for. */
  async begun(): Promise<void> {
    const before = this.journal.counts.commits
    while (this.journal.counts.commits === before) {
      await ahead(this.store('first'))
      await turn()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#stores.keys()) this.close(name)
    await this.journal.close()
  }

  get files(): readonly string[] {
    const folder = journalsPath(this.dataPath)
    return existsSync(folder) ? readdirSync(folder).map((file) => join(folder, file)) : []
  }
}

const KEY = (2 ** 27) as PageKey

function put(store: Store, value: number, byteCount = 8): void {
  const data = new Uint8Array(byteCount).fill(value)
  store.commit(MAIN, store.head(), { puts: [{ key: KEY, data }], deletions: [] })
}

function ahead(store: Store, value = 1, byteCount = 8): Promise<void> {
  return store.commitAhead(() => put(store, value, byteCount)) ?? Promise.resolve()
}

function content(store: Store): number | undefined {
  return store.view().read(KEY)?.[0]
}

/** How often a sync was asked for, until the test has ended; each may be made to fail. */
function watchSyncs(context: TestContext): { count: number; failure: Error | undefined } {
  const real = fs.fdatasync
  const watch = { count: 0, failure: undefined as Error | undefined }
  context.mock.method(fs, 'fdatasync', (descriptor: number, done: fs.NoParamCallback) => {
    watch.count++
    if (watch.failure) queueMicrotask(() => done(watch.failure ?? null))
    else real(descriptor, done)
  })
  syncBuiltinESMExports()
  context.after(() => {
    context.mock.restoreAll()
    syncBuiltinESMExports()
  })
  return watch
}

test('commits of many tenants share a sync and are in the journal then', async (context) => {
  await using world = new World()
  await world.begun()
  const names = Array.from({ length: 12 }, (_, index) => `t${index}`)
  for (const name of names) world.store(name)
  const syncs = watchSyncs(context)
  await Promise.all(names.map((name, index) => ahead(world.store(name), index + 1)))
  assert.equal(syncs.count, 1)
  const lengths = world.files.map((file) => readJournalFile(file).length)
  assert.equal(Math.max(...lengths), 13)
})

test('an owner is durable before the journal has a commit of it', async () => {
  await using world = new World()
  await world.begun()
  const medium = new NodeSqliteMedium(world.path('new'))
  const journal = world.journal.of('new' as TenantName, sqliteLogOf(world.path('new')))
  using store = Store.open(medium, { ...storeOptions(template), journal })
  const before = world.journal.counts.commits
  await ahead(store)
  assert.equal(world.journal.counts.commits, before)
  await ahead(store)
  assert.equal(world.journal.counts.commits, before + 1)
})

test('more than one commit of main, or a large one, is synced by itself', async (context) => {
  await using world = new World()
  await world.begun()
  const store = world.store('one')
  const before = world.journal.counts.commits
  const syncs = watchSyncs(context)
  await store.commitAhead(() => {
    put(store, 2)
    put(store, 3)
  })
  const branch = store.branch(MAIN)
  await store.commitAhead(() => {
    store.commit(branch, store.head(branch), { puts: [], deletions: [] })
  })
  const puts = Array.from({ length: 20 }, (_, index) => ({
    key: (KEY + index) as PageKey,
    data: new Uint8Array(8192).fill(9),
  }))
  await store.commitAhead(() => void store.commit(MAIN, store.head(), { puts, deletions: [] }))
  assert.equal(syncs.count, 3)
  assert.equal(world.journal.counts.commits, before)
})

test('what follows a commit that failed half-way is not alone in the journal', async () => {
  await using world = new World()
  await world.begun()
  const store = world.store('one')
  const fails = (): void => {
    put(store, 2)
    throw new Error('after the commit')
  }
  assert.throws(() => store.commitAhead(fails), { message: 'after the commit' })
  const before = world.journal.counts.commits
  await ahead(store, 3)
  assert.equal(world.journal.counts.commits, before, 'version 2 is not in it')
})

/** A commit of a store that is not there. */
const made: MadeCommit = {
  storeId: '0'.repeat(32),
  owner: '1'.repeat(32),
  epoch: 1,
  version: 2 as Version,
  atMs: 0,
  changes: { puts: [], deletions: [] },
}

test('who is in the next life of a file is not synced for the one before', async () => {
  await using world = new World()
  await world.begun()
  const path = world.path('slow')
  writeFileSync(path, '')
  const slow = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  const fill = async (): Promise<void> => {
    for (let value = 1; value < 66; value++) await ahead(world.store('one'), value, 1_000)
  }
  await world.journal.of('slow' as TenantName, path).write(made, () => {
    begun.resolve()
    return slow.promise
  })
  await fill()
  await begun.promise
  // It is put away under its sync, so its file can be begun again before that has come back.
  fs.rmSync(path)
  for (const name of ['slow', 'first', 'one']) world.close(name)
  await fill()
  let syncCount = 0
  const next = world.journal.of('next' as TenantName, journalsPath(world.dataPath))
  await next.write(made, async () => void syncCount++)
  slow.resolve()
  for (let value = 1; value < 20; value++) await ahead(world.store('one'), value)
  assert.equal(syncCount, 0)
})

test('a store that the disk does not show is not taken for one that was put away', async () => {
  await using world = new World()
  await world.begun()
  const path = join(world.path('first'), 'no-folder')
  const journal = world.journal.of('hidden' as TenantName, path)
  let syncCount = 0
  await journal.write(made, async () => void syncCount++)
  world.journal.closed('hidden' as TenantName)
  for (let value = 1; value < 90; value++) await ahead(world.store('one'), value, 1_000)
  assert.equal(syncCount, 1)
})

test('two files take turns, for as long as there are commits', async () => {
  await using world = new World()
  await world.begun()
  const names = ['one', 'two', 'three']
  const rounds = 40
  for (let round = 1; round <= rounds; round++) {
    await Promise.all(names.map((name) => ahead(world.store(name), round, 1_000)))
  }
  const { commits } = world.journal.counts
  // 64 of them fill a file; while both are full, stores are synced one by one.
  assert.ok(commits > 80 && commits <= rounds * names.length + 1, `${commits} in the journal`)
  for (const name of names) assert.equal(content(world.store(name)), rounds)
  assert.equal(world.files.length, 2)
})

test('a clean end leaves no journal, an open store keeps it', async () => {
  const world = new World()
  await world.begun()
  await ahead(world.store('one'))
  assert.equal(world.files.length, 2)
  // Whoever says so before SQLite has put its log away is not believed.
  for (const name of ['first', 'one']) world.journal.closed(name as TenantName)
  await world.journal.close()
  assert.equal(world.files.length, 2, 'the log of a store has not been synced')
  const tidy = new World()
  await tidy.begun()
  await tidy[Symbol.asyncDispose]()
  assert.equal(tidy.files.length, 0)
  world.close('one')
  world.close('first')
})

test('a journal that cannot be synced tells all who wait, and ends', async (context) => {
  const errors: LogFields[] = []
  const log = { ...silentLog, error: (_: string, fields: LogFields = {}) => errors.push(fields) }
  const world = new World(log as Log)
  await world.begun()
  const [one, two] = [world.store('one'), world.store('two')]
  await ahead(one, 5)
  const syncs = watchSyncs(context)
  syncs.failure = Object.assign(new Error('EIO'), { code: 'EIO' })
  for (const answer of await Promise.allSettled([ahead(one, 6), ahead(two, 6)])) {
    assert.equal(answer.status, 'rejected')
    assert.equal((answer.reason as { code?: string }).code, 'STORE_IO')
  }
  assert.equal(errors.length, 1)
  syncs.failure = undefined
  const { commits } = world.journal.counts
  await ahead(world.store('first'), 7)
  assert.equal(world.journal.counts.commits, commits)
  // As the pool does with whoever was told.
  for (const name of ['one', 'two']) world.close(name)
  assert.ok([5, 6].includes(content(world.store('one')) ?? 0), 'what was told is there')
  await world[Symbol.asyncDispose]()
})

test('a store that lost what was promised has it again when it is opened', async () => {
  await using world = new World()
  await world.begun()
  const store = world.store('one')
  store.checkpoint()
  copyFileSync(world.path('one'), world.path('backup'))
  for (let value = 1; value <= 5; value++) await ahead(store, value)
  const [stamp, head] = [store.stamp(), store.head()]
  store.close()
  copyFileSync(world.path('backup'), world.path('one'))
  const medium = new NodeSqliteMedium(world.path('one'))
  using before = Store.open(medium, storeOptions(template))
  assert.equal(before.head(), head - 5)
  world.journal.bringHome('one' as TenantName, medium)
  before.close()
  using after = Store.open(new NodeSqliteMedium(world.path('one')), storeOptions(template))
  assert.deepEqual([after.stamp(), content(after)], [stamp, 5])
})

test('a disk that has no room for a journal is no reason to fail', async () => {
  const warnings: string[] = []
  await using world = new World({ ...silentLog, warn: (text) => void warnings.push(text) })
  writeFileSync(journalsPath(world.dataPath), 'a file where the folder should be')
  for (let value = 1; value <= 3; value++) {
    await ahead(world.store('one'), value)
    await turn()
  }
  assert.equal(content(world.store('one')), 3)
  assert.equal(world.journal.counts.commits, 0)
  assert.equal(warnings.length, 1, 'told once a minute')
})

test('the room that a commit may need is not taken for a journal', async (context) => {
  const errors: unknown[] = []
  const warn = (_: string, { error }: LogFields = {}): void => void errors.push(error)
  await using world = new World({ ...silentLog, warn })
  const asked = Promise.withResolvers<void>()
  context.mock.method(fs.promises, 'statfs', async () => {
    setImmediate(asked.resolve)
    return { bavail: 1_000, bsize: 4_096 }
  })
  syncBuiltinESMExports()
  context.after(() => {
    context.mock.restoreAll()
    syncBuiltinESMExports()
  })
  await ahead(world.store('one'))
  await asked.promise
  assert.equal((errors[0] as { code?: string }).code, 'STORE_FULL')
  assert.deepEqual(world.files, [])
})

test('threads that die again and again do not fill the disk with journals', async () => {
  const errors: unknown[] = []
  const warn = (_: string, { error }: LogFields = {}): void => void errors.push(error)
  await using world = new World({ ...silentLog, warn })
  const folder = journalsPath(world.dataPath)
  fs.mkdirSync(folder)
  for (let file = 0; file < 1_024; file++) writeFileSync(join(folder, `${file}.journal`), '')
  for (let value = 1; value <= 3; value++) {
    await ahead(world.store('one'), value)
    await turn()
  }
  assert.equal(world.journal.counts.commits, 0)
  assert.equal((errors[0] as { code?: string }).code, 'STORE_FULL')
  assert.equal(world.files.length, 1_024)
})
