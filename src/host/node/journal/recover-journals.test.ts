/**
 * The end of a machine: of a store's log the disk has what was synced and perhaps more, of the
 * journal what was synced. Whatever was promised before must be there after it.
 */
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '../../../base/clock.ts'
import type { PageKey, TenantName, Version } from '../../../base/ids.ts'
import { type LogFields, silentLog } from '../../../base/log.ts'
import type { Random } from '../../../base/random.ts'
import { SeededRandom } from '../../../base/random.ts'
import type { Sync } from '../../../medium/medium.ts'
import { MAIN } from '../../../store/keys.ts'
import type { CommitJournal } from '../../../store/commit-journal.ts'
import { Store } from '../../../store/store.ts'
import { Template } from '../../../store/template.ts'
import { storeOptions } from '../../../../test/support/store-options.ts'
import { testFolder } from '../../../../test/support/temporary-folder.ts'
import { systemClock } from '../clock.ts'
import { NodeSqliteMedium, sqliteLogOf } from '../sqlite-medium.ts'
import { storePath } from '../tenant-files-on-disk.ts'
import { packEntry, unpackEntry } from './journal-entry.ts'
import { JournalFile, readJournalFile } from './journal-file.ts'
import { JOURNAL_SUFFIX, journalsPath, KEPT_SUFFIX } from './journal-folder.ts'
import { recoverJournals } from './recover-journals.ts'
import { ShardJournal } from './shard-journal.ts'

const TENANTS = ['a', 'b', 'c'] as TenantName[]
const KEY = (2 ** 27) as PageKey
/** So small that files change every few commits. */
const FILE_BYTES = 640
/** A store that a journal wants synced is synced so many commits later. */
const SLOW_COMMITS = 8
const KINDS = ['ahead', 'ahead', 'ahead', 'alone', 'checkpoint', 'close', 'death', 'end'] as const
const AHEAD = { kind: 'ahead', tenants: TENANTS, times: 3, waits: false } as const
const END = { ...AHEAD, kind: 'end' } as const
/** Machines that end with commits in the journal which no disk has in a store. */
const ENDS = Array.from({ length: 8 }, () => [AHEAD, END]).flat()
const template = Template.empty()
const root = testFolder()
let count = 0

/** Keeps what a disk has at least, which is what was synced last. */
class WatchedMedium extends NodeSqliteMedium {
  readonly #synced: () => void
  #ahead = false

  constructor(path: string, synced: () => void) {
    super(path)
    this.#synced = synced
    synced()
  }

  override transaction<Result>(body: () => Result): Result {
    const result = super.transaction(body)
    if (!this.#ahead) this.#synced()
    return result
  }

  override commitAhead(work: () => void): Sync | undefined {
    this.#ahead = true
    try {
      const sync = super.commitAhead(work)
      return sync && (() => sync().then(this.#synced))
    } finally {
      this.#ahead = false
    }
  }

  override checkpoint(): void {
    super.checkpoint()
    // It is called while the medium is opened, too.
    if (#synced in this) this.#synced()
  }
}

/** A server's life, as far as stores and their journal are concerned. */
class Life {
  readonly dataPath = join(root, `${++count}`)
  journal: ShardJournal
  readonly promised: Map<TenantName, number>
  readonly #stores = new Map<TenantName, Store>()
  #commitCount = 0
  #isFinished = false
  /** Syncs that wait, and for which commit. */
  readonly #slowSyncs = new Set<{ readonly until: number; readonly goOn: () => void }>()

  constructor(random: Random, promised = new Map<TenantName, number>()) {
    this.promised = promised
    mkdirSync(join(this.dataPath, 'synced'), { recursive: true })
    this.journal = this.#newJournal(random)
  }

  #newJournal(random: Random): ShardJournal {
    const { dataPath } = this
    const time = { clock: systemClock, log: silentLog }
    return new ShardJournal({ dataPath, random, fileBytes: FILE_BYTES, ...time })
  }

  /** The thread dies: its journal stays, and the next one knows nothing of it. */
  async die(random: Random): Promise<void> {
    for (const tenant of TENANTS) this.close(tenant)
    this.#slowSyncs.clear()
    this.journal = this.#newJournal(random)
    await this.begun()
  }

  /** Waits for the files of the journal, which the first commit asks for. */
  async begun(): Promise<this> {
    while (this.journal.counts.commits === 0) {
      await this.commit('a' as TenantName, true)
      await turn()
    }
    return this
  }

  path(tenant: TenantName): string {
    return storePath(this.dataPath, tenant)
  }

  store(tenant: TenantName): Store {
    const known = this.#stores.get(tenant)
    if (known) return known
    const medium = new WatchedMedium(this.path(tenant), () => this.#keep(tenant))
    this.journal.bringHome(tenant, medium)
    const shared = this.journal.of(tenant, sqliteLogOf(this.path(tenant)))
    const journal: CommitJournal = {
      write: (commit, sync) => shared.write(commit, () => this.#slowly(sync)),
    }
    const store = Store.open(medium, { ...storeOptions(template), journal })
    this.#stores.set(tenant, store)
    return store
  }

  commit(tenant: TenantName, isAhead: boolean): Promise<void> {
    const store = this.store(tenant)
    const version = store.head() + 1
    const commit = (): void => {
      const data = Uint8Array.of(version & 255, version >> 8, 1)
      store.commit(MAIN, store.head(), { puts: [{ key: KEY, data }], deletions: [] })
    }
    const promise = (): void => void this.promised.set(tenant, version)
    this.#goOnUntil(++this.#commitCount)
    if (isAhead) return Promise.resolve(store.commitAhead(commit)).then(promise)
    commit()
    promise()
    return Promise.resolve()
  }

  /** As a disk that is slower than the journal's, by commits, whatever the machine's is. */
  async #slowly(sync: Sync): Promise<void> {
    if (!this.#isFinished) {
      const { promise, resolve: goOn } = Promise.withResolvers<void>()
      this.#slowSyncs.add({ until: this.#commitCount + SLOW_COMMITS, goOn })
      await promise
    }
    await sync()
  }

  #goOnUntil(commitCount: number): void {
    for (const slow of this.#slowSyncs) {
      if (slow.until > commitCount) continue
      this.#slowSyncs.delete(slow)
      slow.goOn()
    }
  }

  close(tenant: TenantName): void {
    this.#stores.get(tenant)?.close()
    if (!this.#stores.delete(tenant)) return
    this.#keep(tenant)
    this.journal.closed(tenant)
  }

  /** The machine ends; what a disk may have then is in the folder of the next life. */
  async end(random: Random): Promise<Life> {
    const next = new Life(random, this.promised)
    for (const tenant of TENANTS) {
      if (!existsSync(this.path(tenant))) continue
      const synced = random.below(3) > 0
      const from = synced ? this.#syncedPath(tenant) : this.path(tenant)
      for (const file of [from, sqliteLogOf(from)]) {
        const to = file === from ? next.path(tenant) : sqliteLogOf(next.path(tenant))
        if (existsSync(file)) copyFileSync(file, to)
      }
      if (synced && random.below(2) === 0) this.#keepPart(tenant, next, random)
    }
    mkdirSync(journalsPath(next.dataPath))
    for (const file of readdirSync(journalsPath(this.dataPath))) {
      copyFileSync(join(journalsPath(this.dataPath), file), join(journalsPath(next.dataPath), file))
    }
    await this.finish()
    rmSync(this.dataPath, { recursive: true })
    return next
  }

  async finish(): Promise<void> {
    for (const tenant of TENANTS) this.close(tenant)
    this.#isFinished = true
    this.#goOnUntil(Number.POSITIVE_INFINITY)
    await this.journal.close()
  }

  /** Of a log that has grown since it was synced, a part may be on the disk, torn in a page. */
  #keepPart(tenant: TenantName, next: Life, random: Random): void {
    const kept = sqliteLogOf(this.#syncedPath(tenant))
    if (!existsSync(kept) || !existsSync(sqliteLogOf(this.path(tenant)))) return
    const [now, then] = [readFileSync(sqliteLogOf(this.path(tenant))), readFileSync(kept)]
    if (now.length <= then.length || !now.subarray(0, then.length).equals(then)) return
    const end = then.length + random.below(now.length - then.length)
    writeFileSync(sqliteLogOf(next.path(tenant)), now.subarray(0, end))
  }

  #syncedPath(tenant: TenantName): string {
    return join(this.dataPath, 'synced', tenant)
  }

  #keep(tenant: TenantName): void {
    const from = this.path(tenant)
    const to = this.#syncedPath(tenant)
    copyFileSync(from, to)
    if (existsSync(sqliteLogOf(from))) copyFileSync(sqliteLogOf(from), sqliteLogOf(to))
    else rmSync(sqliteLogOf(to), { force: true })
  }
}

function filesOf(dataPath: string): string[] {
  const folder = journalsPath(dataPath)
  const files = readdirSync(folder)
    .filter((file) => file.endsWith(JOURNAL_SUFFIX))
    .toSorted()
  return files.map((file) => join(folder, file))
}

function checkPromised(life: Life): void {
  for (const [tenant, promised] of life.promised) {
    const store = life.store(tenant)
    const head = store.head()
    assert.ok(head >= promised, `${tenant} has ${head}, and was promised ${promised}`)
    for (let version = 1; version <= head; version++) {
      const [low = 0, high = 0] = store.view(MAIN, version as Version).read(KEY) ?? []
      assert.equal(low + high * 256, version, `${tenant} at ${version}`)
    }
    assert.deepEqual(store.damage(), [])
  }
}

test('whatever was promised outlives the machine, in all orders of events', async () => {
  const step = fc.record({
    kind: fc.constantFrom(...KINDS),
    tenants: fc.subarray(TENANTS, { minLength: 1 }),
    times: fc.integer({ min: 1, max: 12 }),
    waits: fc.boolean(),
  })
  const steps = fc.array(step, { minLength: 4, maxLength: 24 })
  let recovered = 0
  await fc.assert(
    fc.asyncProperty(steps, fc.nat(), async (story, seed) => {
      const random = new SeededRandom(seed)
      let life = await new Life(random).begun()
      for (const { kind, tenants, times, waits } of story) {
        if (kind === 'end') {
          life = await life.end(random)
          const { dataPath } = life
          const info = (_: string, facts: LogFields = {}): void => {
            recovered += Number(facts['missing'])
          }
          const log = { ...silentLog, info }
          const options = { tenantsPath: dataPath, clock: new ManualClock(), log }
          recoverJournals(filesOf(dataPath), options)
          assert.deepEqual(filesOf(dataPath), [])
          checkPromised(life)
          await life.begun()
          continue
        }
        if (kind === 'death') await life.die(random)
        const under: Promise<void>[] = []
        for (const tenant of tenants) {
          if (kind === 'checkpoint') life.store(tenant).checkpoint()
          else if (kind === 'close') life.close(tenant)
        }
        if (kind === 'ahead' || kind === 'alone') {
          for (let time = 0; time < times; time++) {
            for (const tenant of tenants) under.push(life.commit(tenant, kind === 'ahead'))
            // A tenant has one commit under way.
            if (waits || time + 1 < times) await Promise.all(under.splice(0))
          }
        }
        await Promise.all(under)
      }
      checkPromised(life)
      await life.finish()
      const hasDied = story.some(({ kind }) => kind === 'death')
      if (!hasDied) assert.deepEqual(filesOf(life.dataPath), [], 'a clean end leaves none')
      recover(life)
      assert.deepEqual(readdirSync(journalsPath(life.dataPath)), [])
      rmSync(life.dataPath, { recursive: true })
    }),
    { numRuns: 25, examples: [[ENDS, 1]] },
  )
  assert.ok(recovered > 20, `only ${recovered} commits were brought home: the test shows nothing`)
})

/** The journal has two commits of tenant a that its store lacks. */
async function ended(): Promise<Life> {
  const random = new SeededRandom(1)
  const life = await new Life(random).begun()
  const tenant = 'a' as TenantName
  await life.commit(tenant, false)
  for (let times = 0; times < 2; times++) await life.commit(tenant, true)
  const next = await life.end({ bytes: (count) => random.bytes(count), below: () => 1 })
  return next
}

/** @returns what was warned of */
function recover(life: Life): readonly LogFields[] {
  const warnings: LogFields[] = []
  const log = { ...silentLog, warn: (_: string, facts: LogFields = {}) => warnings.push(facts) }
  const options = { tenantsPath: life.dataPath, clock: new ManualClock(), log }
  recoverJournals(filesOf(life.dataPath), options)
  return warnings
}

/** All journals are there under other names, and it was said where. */
function checkKept(life: Life, warnings: readonly LogFields[]): void {
  const folder = journalsPath(life.dataPath)
  const kept = readdirSync(folder)
  assert.ok(kept.length > 0 && kept.every((file) => file.endsWith(KEPT_SUFFIX)))
  const said = warnings.map(({ path }) => path)
  for (const file of kept) assert.ok(said.includes(join(folder, file)), file)
}

test('what does not fit a store any more is kept, said, and not brought home', async () => {
  // Fewer than the journal has, as many, and more.
  for (const others of [1, 2, 4]) {
    const life = await ended()
    const path = life.path(TENANTS[0] as TenantName)
    const other = Store.open(new NodeSqliteMedium(path), storeOptions(template))
    for (let times = 0; times < others; times++) {
      other.commit(MAIN, other.head(), { puts: [], deletions: [] })
    }
    const stamp = other.stamp()
    other.close()
    const warnings = recover(life)
    using after = Store.open(new NodeSqliteMedium(path), storeOptions(template))
    assert.equal(after.stamp(), stamp)
    assert.deepEqual(warnings.map(({ tenant }) => tenant).filter(Boolean), ['a'])
    checkKept(life, warnings)
  }
})

test('what an owner was told is brought home beside commits that fit no more', async () => {
  const tenant = 'a' as TenantName
  const life = await new Life(new SeededRandom(2)).begun()
  await life.commit(tenant, false)
  life.close(tenant)
  const backup = readFileSync(life.path(tenant))
  for (let times = 0; times < 2; times++) await life.commit(tenant, true)
  life.close(tenant)
  // Deleted, and put back; then it goes on from there, and the machine ends.
  writeFileSync(life.path(tenant), backup)
  life.promised.delete(tenant)
  await life.commit(tenant, false)
  for (let times = 0; times < 2; times++) await life.commit(tenant, true)
  const next = await life.end({ bytes: (count) => new Uint8Array(count), below: () => 1 })
  const warnings = recover(next)
  checkPromised(next)
  checkKept(next, warnings)
  next.close(tenant)
})

test('what is damaged in a journal is kept and said, and the rest is brought home', async () => {
  const damages = {
    'an entry that is none': async (path: string) => {
      const file = await JournalFile.make(path, FILE_BYTES)
      file.restart(1)
      file.append(Uint8Array.of(200, 200, 200))
      await file.sync()
      file.close()
    },
    'a head that is none': async (path: string) => {
      writeFileSync(path, new Uint8Array(FILE_BYTES).fill(7))
    },
  }
  for (const [what, make] of Object.entries(damages)) {
    const life = await ended()
    const path = join(journalsPath(life.dataPath), `damaged${JOURNAL_SUFFIX}`)
    await make(path)
    const warnings = recover(life)
    assert.ok(
      warnings.some((facts) => facts['path'] === path && facts['error']),
      what,
    )
    checkKept(life, warnings)
    checkPromised(life)
    life.close(TENANTS[0] as TenantName)
  }
})

test('a journal that cannot be read ends the start, with an error that says so', async () => {
  const life = await ended()
  const before = filesOf(life.dataPath)
  const path = join(journalsPath(life.dataPath), `folder${JOURNAL_SUFFIX}`)
  mkdirSync(path)
  assert.throws(() => recover(life), { code: 'STORE_IO', message: /journal cannot be used/ })
  assert.deepEqual(filesOf(life.dataPath), [...before, path].toSorted())
})

test('what a journal has of a tenant that was deleted goes with it', async () => {
  const life = await ended()
  const [deleted, other] = TENANTS.map((tenant) => life.path(tenant))
  copyFileSync(deleted ?? '', other ?? '')
  rmSync(deleted ?? '')
  recover(life)
  assert.deepEqual(readdirSync(journalsPath(life.dataPath)), [])
})

test('a folder without any tenant is no reason to forget what they lack', async () => {
  const life = await ended()
  const [path = ''] = TENANTS.map((tenant) => life.path(tenant))
  const before = filesOf(life.dataPath)
  const store = readFileSync(path)
  rmSync(path)
  assert.equal(recover(life).length, 1)
  assert.deepEqual(filesOf(life.dataPath), before)
  writeFileSync(path, store)
  recover(life)
  assert.deepEqual(filesOf(life.dataPath), [])
  checkPromised(life)
  life.close(TENANTS[0] as TenantName)
})

test('where a commit is missing, those before it are brought home', async () => {
  const life = await ended()
  const files = filesOf(life.dataPath)
  const entries = files.flatMap((file) => readJournalFile(file)).map((bytes) => unpackEntry(bytes))
  const versions = entries.map(({ commit }) => commit.version)
  const head = life.store('a' as TenantName).head()
  life.close('a' as TenantName)
  const first = entries.find(({ commit }) => commit.version === head + 1)
  assert.ok(first && versions.includes((head + 2) as Version))
  // The second of the two is missing, and there is a third.
  for (const file of files) rmSync(file)
  const path = join(journalsPath(life.dataPath), `gap${JOURNAL_SUFFIX}`)
  const file = await JournalFile.make(path, 2 * FILE_BYTES)
  file.restart(1)
  const third = { ...first.commit, version: (head + 3) as Version }
  for (const commit of [third, first.commit]) file.append(packEntry({ ...first, commit }))
  await file.sync()
  file.close()
  checkKept(life, recover(life))
  assert.equal(life.store('a' as TenantName).head(), head + 1)
  life.close('a' as TenantName)
})

test('a store that cannot be reached is no reason to forget what it lacks', async () => {
  const life = await ended()
  const path = life.path(TENANTS[0] as TenantName)
  rmSync(path)
  symlinkSync(join(life.dataPath, 'not', 'mounted'), path)
  const before = filesOf(life.dataPath)
  assert.throws(() => recover(life), {
    code: 'STORE_IO',
    message: /\ba\b/,
    hint: /nothing is lost/,
  })
  assert.deepEqual(filesOf(life.dataPath), before)
})
