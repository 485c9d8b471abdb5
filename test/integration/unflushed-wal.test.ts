/**
 * What a client was told does not hang on WAL that Postgres has only in its memory. A sequence says
 * 32 numbers ahead in one record of the log; if the transaction that wrote it is rolled back,
 * Postgres flushes nothing, and the transactions that are given the other numbers have nothing of
 * their own to flush.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, test } from 'node:test'
import type { TenantName } from '../../src/base/ids.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import { queryMessage } from '../../src/front/wire/result.ts'
import type { PoolClient } from '../../src/pool/pool-client.ts'
import { ask, ImageWorld, verifyingEngine } from '../support/image-world.ts'
import { testFolder } from '../support/temporary-folder.ts'

const WAL_PAGE_BYTES = 8192
const INSERTED_TO = `select pg_current_wal_insert_lsn() - '0/0'`

const folder = testFolder()
let engine: WasmEngine

before(async () => {
  engine = await verifyingEngine()
})

interface Bench extends AsyncDisposable {
  readonly world: ImageWorld
  readonly name: TenantName
  readonly client: PoolClient
  readonly ask: (sql: string) => Promise<string | null | undefined>
  /** The next number of the sequence after the machine has lost the process here. */
  readonly numberAfterKill: () => Promise<number>
  /** Whether a statement makes its tenant's store another version. */
  readonly commits: (sql: string) => Promise<boolean>
}

async function bench(path: string): Promise<Bench> {
  const world = new ImageWorld({ engine, path: join(folder, path) })
  const name = world.newTenant('acme')
  const client = world.pool.connect(name)
  await ask(client, 'create sequence s; create table t(a int primary key, b text)')
  const versionOnDisk = (): string => {
    world.copyTo(join(folder, `${path}-now`))
    const opened = world.again({ path: join(folder, `${path}-now`) }).stores.open(name)
    try {
      return String(opened.files.version)
    } finally {
      opened.close()
    }
  }
  return {
    world,
    name,
    client,
    ask: (sql) => ask(client, sql),
    numberAfterKill: async () => {
      world.copyTo(join(folder, `${path}-killed`))
      const other = world.again({ path: join(folder, `${path}-killed`) })
      const number = Number(await other.ask(name, `select nextval('s')`))
      assert.equal(other.found.cold, 1)
      await other.pool.drain()
      return number
    },
    commits: async (sql) => {
      const version = versionOnDisk()
      await ask(client, sql)
      return versionOnDisk() !== version
    },
    [Symbol.asyncDispose]: async () => {
      client.close()
      await world.pool.drain()
    },
  }
}

test('a number given out after a rollback is not given out again', async () => {
  await using one = await bench('rollback')
  await one.ask('begin')
  assert.equal(await one.ask(`select nextval('s')`), '1')
  await one.ask('rollback')
  assert.equal(await one.ask(`select nextval('s')`), '2')
  assert.ok((await one.numberAfterKill()) > 2)
})

test('nor after setval in a transaction that was rolled back', async () => {
  await using one = await bench('setval')
  await one.ask(`begin; select setval('s', 500); rollback`)
  assert.equal(await one.ask('select last_value from s'), '500')
  assert.ok((await one.numberAfterKill()) > 500)
})

test('nor after a statement that failed', async () => {
  await using one = await bench('failed')
  await assert.rejects(one.ask(`select nextval('s') / 0`), /22012/)
  assert.equal(await one.ask(`select nextval('s')`), '2')
  assert.ok((await one.numberAfterKill()) > 2)
})

test('nor after a savepoint that was rolled back, and its transaction', async () => {
  await using one = await bench('savepoint')
  await one.ask('begin; savepoint a')
  await one.ask(`select nextval('s')`)
  await one.ask('rollback to savepoint a')
  await one.ask('rollback')
  assert.equal(await one.ask(`select nextval('s')`), '2')
  assert.ok((await one.numberAfterKill()) > 2)
})

test('nor if a neighbour has done just the same in the same slot before', async () => {
  const path = join(folder, 'neighbour')
  const world = new ImageWorld({ engine, path, limits: { slotsPerShard: 1 } })
  const names = ['acme', 'beta'].map((name) => world.newTenant(name))
  for (const name of names) await world.ask(name, 'create sequence s')
  // As many records of the log, and the same transaction: what is known of one is not of the other.
  for (const name of names) await world.ask(name, `begin; select nextval('s'); rollback`)
  for (const name of names) assert.equal(await world.ask(name, `select nextval('s')`), '2')
  world.copyTo(join(folder, 'neighbour-killed'))
  const other = world.again({ path: join(folder, 'neighbour-killed') })
  for (const name of names) {
    assert.ok(Number(await other.ask(name, `select nextval('s')`)) > 2, name)
  }
  await Promise.all([world.pool.drain(), other.pool.drain()])
})

test('nor if no batch ends outside a transaction', async () => {
  await using one = await bench('chain')
  await one.ask('begin')
  await one.ask(`select nextval('s')`)
  await one.ask('rollback and chain')
  assert.equal(await one.ask(`select nextval('s')`), '2')
  await one.ask('commit and chain')
  assert.equal(one.client.transactionStatus, 'transaction')
  assert.ok((await one.numberAfterKill()) > 2)
})

test('nor if all of it is one batch that leaves a transaction open', async () => {
  await using one = await bench('batch')
  const words = `begin; select nextval('s'); rollback; begin; select nextval('s'); commit; begin;
    insert into t values (1)`
  await one.client.run(queryMessage(words), true)
  assert.ok((await one.numberAfterKill()) > 2)
})

test('nor if the tenant has napped in the middle of the transaction', async () => {
  await using one = await bench('nap')
  await one.ask('begin')
  await one.ask(`select nextval('s')`)
  one.world.pool.nap(one.name)
  assert.equal(one.world.pool.phaseOf(one.name), 'napping')
  await one.ask('rollback')
  assert.equal(one.world.found.napping, 1)
  assert.equal(await one.ask(`select nextval('s')`), '2')
  assert.ok((await one.numberAfterKill()) > 2)
})

test('nor if a client left in the middle of the transaction', async () => {
  await using one = await bench('left')
  const leaver = one.world.pool.connect(one.name)
  await ask(leaver, `begin; select nextval('s')`)
  leaver.close()
  assert.equal(await one.ask(`select nextval('s')`), '2')
  assert.ok((await one.numberAfterKill()) > 2)
})

test('what nobody was told of is not brought to the store before its time', async () => {
  await using one = await bench('lazy')
  assert.equal(await one.commits(`insert into t values (1, 'x')`), true)
  assert.equal(await one.commits('select * from t'), false)
  assert.equal(await one.commits('begin; insert into t values (2)'), false)
  assert.equal(await one.commits(`insert into t values (3); select nextval('s')`), false)
  assert.equal(await one.commits('savepoint a; insert into t values (4)'), false)
  assert.equal(await one.commits('rollback to savepoint a'), false)
  assert.equal(await one.commits('commit'), true)
  assert.equal(await one.commits('begin; delete from t; rollback'), true)
})

test('transactions whose rows no crash leaves are not brought to the store', async () => {
  await using one = await bench('passing')
  await one.ask('create temp table passing(a int); create unlogged table fast(a int)')
  await one.ask('insert into passing values (1)')
  assert.equal(await one.commits('insert into passing values (2)'), false)
  await one.ask('insert into fast values (1)')
  assert.equal(await one.commits('insert into fast values (2)'), false)
})

test('a query that tidies up as it reads does not wait for the disk', async () => {
  await using one = await bench('prune')
  await one.ask(`insert into t select 1, repeat('x', 900)`)
  const insertedTo = async (): Promise<number> => Number(await one.ask(INSERTED_TO))
  let tidiedBytes = 0
  for (let round = 0; round < 20; round++) {
    await one.ask(`update t set b = repeat('y', 900)`)
    const before = await insertedTo()
    assert.equal(await one.commits('select count(*) from t'), false)
    tidiedBytes += (await insertedTo()) - before
  }
  assert.ok(tidiedBytes > 0, 'a page was pruned')
})

test('WAL that ends where a page ends is flushed like any other', async () => {
  await using one = await bench('page')
  const insertedTo = async (): Promise<number> => Number(await one.ask(INSERTED_TO))
  /** Writes a message of this length among records of sequences, and takes it back. */
  const write = async (length: number): Promise<void> => {
    const message = `pg_logical_emit_message(false, '', repeat('x', ${length}))`
    await one.ask(`begin; select setval('s', 500), ${message}; rollback`)
  }
  const roomInPage = async (): Promise<number> =>
    WAL_PAGE_BYTES - ((await insertedTo()) % WAL_PAGE_BYTES)
  if ((await roomInPage()) < 2048) await write(2048)
  const before = await insertedTo()
  await write(256)
  const besideMessage = (await insertedTo()) - before - 256
  await write((await roomInPage()) - besideMessage)
  // The next record will be behind the header of the next page.
  assert.equal((await insertedTo()) % WAL_PAGE_BYTES, 24)
  assert.equal(await one.ask('select last_value from s'), '500')
  assert.ok((await one.numberAfterKill()) > 500)
})
