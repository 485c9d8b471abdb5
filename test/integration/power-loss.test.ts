/**
 * The machine ends while many tenants write. Each store's log on the disk then has what SQLite has
 * synced and, in the worst case, nothing of what was left to the shard's journal. That case is made
 * here from the folder of a server that was killed: what the journal has is cut off the logs.
 */
import assert from 'node:assert/strict'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { PoolFacts } from '../../src/front/control.ts'
import { unpackEntry } from '../../src/host/node/journal/journal-entry.ts'
import { readJournalFile } from '../../src/host/node/journal/journal-file.ts'
import { journalsPath } from '../../src/host/node/journal/journal-folder.ts'
import { sqliteLogOf } from '../../src/host/node/sqlite-medium.ts'
import { connectPg, type PgConnection } from '../support/clients.ts'
import { runProgram, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const TENANTS = Array.from({ length: 12 }, (_, index) => `tenant${index}`)
/** Of each tenant, when the journal is there. */
const TELLS = 30
const LOG_HEADER_BYTES = 32
const FRAME_BYTES = 24 + 4096

const folder = temporaryFolder()
after(() => folder[Symbol.dispose]())

let told: ReadonlyMap<string, readonly number[]>
let missing: number
const data = join(folder.path, 'data')
const looked = join(folder.path, 'looked-at')
/** The newest version of each tenant, before the machine ended. */
const heads = new Map<string, number>()

before(async () => {
  told = await tellMany(data)
  missing = loseWhatTheJournalHas(data)
  assert.ok(missing > 0, 'the stores lack nothing, which is no test')
  cpSync(data, looked, { recursive: true })
})

test('what many tenants were told at once is there after the machine has ended', async () => {
  await using server = await startServer({ data })
  const [line] = server.log().match(/.*brought home.*/) ?? []
  assert.equal((JSON.parse(line ?? '{}') as { missing?: number }).missing, missing)
  for (const tenant of TENANTS) {
    await using reader = await connectPg(server, tenant)
    const { rows } = await reader.client.query<{ id: number }>('select id from t order by id')
    const ids = new Set(rows.map(({ id }) => id))
    for (const id of told.get(tenant) ?? []) assert.ok(ids.has(id), `${tenant} has lost ${id}`)
    await reader.client.query('insert into t values (-1)')
  }
  await server.stop()
  assert.deepEqual(readdirSync(journalsPath(data)), [], 'a clean end leaves no journal')
})

test('who looks at a store first brings home what the journal has of it', async () => {
  const { status, stderr } = await runProgram(['verify', 'tenant0', '--data', looked])
  assert.equal(status, 0, stderr)
  assert.match(stderr, /brought home/)
  assert.deepEqual(readdirSync(journalsPath(looked)), [])
  for (const tenant of TENANTS) {
    const head = headOf(join(looked, 'tenants', `${tenant}.db`))
    assert.ok(head >= (heads.get(tenant) ?? 0), `${tenant} has ${head}`)
  }
})

/** What each tenant was told is committed, by a server that is killed then. */
async function tellMany(data: string): Promise<ReadonlyMap<string, number[]>> {
  const told = new Map(TENANTS.map((tenant) => [tenant, [] as number[]]))
  await using server = await startServer({ data, flags: ['--shards', '1', '--slots', '12'] })
  const connections: [string, PgConnection][] = []
  for (const tenant of TENANTS) connections.push([tenant, await connectPg(server, tenant)])
  for (const [, { client }] of connections) await client.query('create table t (id int)')
  let writing = true
  const write = async (tenant: string, { client }: PgConnection): Promise<void> => {
    for (let id = 1; writing; id++) {
      await client.query('insert into t values ($1)', [id])
      told.get(tenant)?.push(id)
    }
  }
  const writers = connections.map(([tenant, connection]) => write(tenant, connection))
  const ended = Promise.allSettled(writers)
  // The first ones ask for the journal.
  const folderOfJournals = journalsPath(data)
  const begun = (): boolean =>
    existsSync(folderOfJournals) && readdirSync(folderOfJournals).length === 2
  const tells = (): number => Math.min(...Array.from(told.values(), ({ length }) => length))
  while (!begun()) await delay(5)
  for (const enough = tells() + TELLS; tells() < enough;) await delay(5)
  const pool = (await (await server.request('/v1/pool')).json()) as PoolFacts
  const { commits, syncs } = pool.journal
  assert.ok(commits > syncs && syncs > 0, `${commits} commits in ${syncs} syncs`)
  await server.stop('SIGKILL')
  writing = false
  await ended
  for (const [, { client }] of connections) client.end().catch(() => {})
  return told
}

/** @returns how many commits of the journal the stores lack then */
function loseWhatTheJournalHas(data: string): number {
  const versions = new Map<string, Set<number>>()
  for (const file of readdirSync(journalsPath(data))) {
    for (const bytes of readJournalFile(join(journalsPath(data), file))) {
      const { tenant, commit } = unpackEntry(bytes)
      const known = versions.get(tenant) ?? new Set()
      versions.set(tenant, known.add(commit.version))
    }
  }
  let missing = 0
  for (const [tenant, kept] of versions) {
    const path = join(data, 'tenants', `${tenant}.db`)
    const head = headOf(path)
    heads.set(tenant, head)
    // Versions that are not in the journal were synced in the store, and so were those before them.
    let synced = head
    while (kept.has(synced)) synced--
    cutLog(path, synced)
    const left = headOf(path)
    assert.ok(left >= synced && left <= head)
    missing += head - left
  }
  return missing
}

/** Cuts the log to the fewest frames with which the store has `version`. */
function cutLog(path: string, version: number): void {
  const log = sqliteLogOf(path)
  if (!existsSync(log)) return
  const frames = Math.floor((statSync(log).size - LOG_HEADER_BYTES) / FRAME_BYTES)
  let [few, enough] = [-1, frames]
  while (enough - few > 1) {
    const middle = Math.floor((few + enough) / 2)
    if (headOf(path, middle) < version) few = middle
    else enough = middle
  }
  truncateSync(log, LOG_HEADER_BYTES + enough * FRAME_BYTES)
}

/** Newest version in a copy of a store, with all of its log or some frames of it. */
function headOf(path: string, frames?: number): number {
  const copy = join(folder.path, 'copy')
  rmSync(copy, { recursive: true, force: true })
  mkdirSync(copy)
  const [file, log] = [join(copy, 'store.db'), sqliteLogOf(join(copy, 'store.db'))]
  copyFileSync(path, file)
  if (existsSync(sqliteLogOf(path))) {
    copyFileSync(sqliteLogOf(path), log)
    if (frames !== undefined) truncateSync(log, LOG_HEADER_BYTES + frames * FRAME_BYTES)
  }
  using database = new DatabaseSync(file)
  const row = database.prepare('select max(id) as head from log where id < (1 << 44)').get()
  return Number(row?.['head'] ?? 0)
}
