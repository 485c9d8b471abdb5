/**
 * What goes wrong around a server: it is killed, its disk is full or read-only, a query wants more
 * memory than there is, a thread hangs or dies. One rule over all of them: what was acknowledged is
 * there afterwards, and nobody else notices.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { TenantName } from '../../src/base/ids.ts'
import { shardOf } from '../../src/router/assignment.ts'
import {
  type Failure,
  type PgConnection,
  type Target,
  connectPg,
  failureOf,
} from '../support/clients.ts'
import { type ServerProcess, runProgram, serveWords, startServer } from '../support/server.ts'
import { startTwoShards } from '../support/shards.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { UNHEEDING } from '../support/unheeding.ts'

test('kill -9 in the middle of commits loses nothing that was acknowledged', async () => {
  using folder = temporaryFolder()
  const data = folder.path
  const tenants = ['a', 'b', 'c', 'd']
  const acknowledged = new Map<string, number>()
  for (let round = 0; round < 2; round++) {
    await using server = await startServer({ data, flags: ['--shards', '2', '--slots', '2'] })
    // All are there before the first one writes: who is killed while it connects has proved
    // nothing.
    for (const tenant of tenants) {
      await using connection = await connectPg(server, tenant)
      await connection.client.query('create table if not exists t(n int primary key)')
    }
    const connections = await Promise.all(tenants.map((tenant) => connectPg(server, tenant)))
    const enough = Promise.withResolvers<void>()
    let count = 0
    const writers = connections.map(async (opened, index) => {
      await using connection = opened
      const tenant = tenants[index] ?? ''
      for (let n = (acknowledged.get(tenant) ?? 0) + 1; ; n++) {
        try {
          await connection.client.query('insert into t values ($1) on conflict do nothing', [n])
        } catch {
          return
        }
        acknowledged.set(tenant, n)
        if (++count === 100) enough.resolve()
      }
    })
    await enough.promise
    await server.stop('SIGKILL')
    await Promise.all(writers)
  }
  await using server = await startServer({ data, flags: ['--shards', '2'] })
  for (const tenant of tenants) {
    await using connection = await connectPg(server, tenant)
    const last = acknowledged.get(tenant) ?? 0
    assert.ok(last > 0)
    const numbers = await connection.column('select n from t order by n')
    assert.ok(numbers.length === last || numbers.length === last + 1, `${numbers.length}, ${last}`)
    assert.deepEqual(
      numbers,
      Array.from(numbers, (_, index) => index + 1),
    )
  }
})

test('a query beyond the memory of a slot fails alone: 53200', async () => {
  await using server = await startServer({ flags: ['--shards', '1', '--slot-memory', '64MB'] })
  await using greedy = await connectPg(server, 'greedy')
  await using neighbour = await connectPg(server, 'neighbour')
  await neighbour.client.query('create table t as select 1 as n')
  await neighbour.client.query('begin; insert into t values (2)')
  await greedy.client.query('create table t as select 5 as n')
  const failure = await failureOf(
    greedy.client.query(
      "select length(string_agg(repeat('x', 1000000), '')) from generate_series(1, 150)",
    ),
  )
  assert.equal(failure.code, '53200')
  assert.equal(await greedy.value('select n from t'), 5, 'on the same connection')
  assert.equal(await neighbour.value('select count(*)::int from t'), 2)
  await neighbour.client.query('commit')
  assert.equal(await greedy.value('select length(repeat($1, 1000000))', ['x']), 1_000_000)
})

test('a trap costs its own client the session, and nobody else anything', async () => {
  await using server = await startServer({ flags: ['--shards', '1', '--slots', '2'] })
  await using neighbour = await connectPg(server, 'neighbour')
  await neighbour.client.query('create table t as select 1 as n')
  await neighbour.client.query('begin; insert into t values (2)')
  await using beside = await connectPg(server, 'careless')
  await using careless = await connectPg(server, 'careless')
  await careless.client.query('create table kept as select 5 as n; create extension pg_trgm')
  // Declared to take a number, it takes it for an address: far beyond the memory.
  await careless.client.query(
    `create function trap(int) returns text[] language c strict as '$libdir/pg_trgm', 'show_trgm'`,
  )
  careless.client.on('error', () => {})
  beside.client.on('error', () => {})
  const failure = await failureOf(careless.client.query('select trap(-64)'))
  assert.equal(failure.code, '57P01')
  assert.match(failure.message, /crashed/)
  assert.ok(failure.hint)
  assert.equal(await neighbour.value('select count(*)::int from t'), 2)
  await neighbour.client.query('commit')
  await using again = await connectPg(server, 'careless')
  assert.equal(await again.value('select n from kept'), 5)
  assert.equal(await again.value(`select array_length(show_trgm('ab'), 1)`), 3)
})

describe('disks', () => {
  const reason = diskTrouble()

  test(
    'a full disk: 53100 with a hint; with room again all is there',
    { skip: reason },
    async () => {
      using disk = mountDisk('32m')
      const { server, data, filler, acknowledged } = await fillDisk(disk)
      await using first = server
      assert.equal((await first.request('/readyz')).status, 200)
      rmSync(filler)
      await using reader = await connectPg(first, 'acme')
      assert.equal(await reader.value('select max(n) from t'), acknowledged)
      assert.equal(await reader.value('select text from t where n = 0'), 'first')
      await reader.client.query("insert into t values (1000, 'after')")
      assert.equal(await reader.value('select count(*)::int from t'), acknowledged + 2)
      assert.deepEqual(await first.stop(), { status: 0, signal: null })
      await using again = await startServer({ data, flags: ['--shards', '1'] })
      await using late = await connectPg(again, 'acme')
      assert.equal(await late.value('select count(*)::int from t'), acknowledged + 2)
    },
  )

  test(
    'a disk that is almost full: who grows is refused, and nobody is in the way of others',
    { skip: reason },
    async () => {
      using disk = mountDisk('60m')
      const data = join(disk.path, 'data')
      await using server = await startServer({ data, flags: ['--shards', '1'] })
      await using greedy = await connectPg(server, 'greedy')
      const { client } = greedy
      await client.query('create table t(n int, text text)')
      // One statement that would take all there is, several times over.
      const load = `insert into t select n, repeat('x', 640) from generate_series(1, 120000) n`
      for (let round = 0; round < 2; round++) {
        const failure = await failureOf(client.query(load))
        assert.equal(failure.code, '53100')
        assert.match(failure.message, /could not extend file/)
        assert.match(String(failure.detail), /the disk of this database is almost full/)
        assert.match(String(failure.hint), /free space/)
        assert.equal(await greedy.value('select count(*)::int from t'), 0, 'the session goes on')
      }
      await using newcomer = await connectPg(server, 'newcomer')
      await newcomer.client.query('create table t as select 1 as n')
      await client.query('insert into t values (1)')
      await client.query('vacuum t')
      await client.query(`insert into t select n, 'y' from generate_series(1, 1000) n`)
      await client.end()
      await server.stop('SIGKILL')
      await using again = await startServer({ data, flags: ['--shards', '1'] })
      await using late = await connectPg(again, 'greedy')
      assert.equal(await late.value('select count(*)::int from t'), 1001)
    },
  )

  test(
    'what has filled it can be counted, changed and deleted, and gives its room back',
    { skip: reason },
    async () => {
      using disk = mountDisk('160m')
      const data = join(disk.path, 'data')
      await using server = await startServer({ data, flags: ['--shards', '1'] })
      await using greedy = await connectPg(server, 'greedy')
      const { client } = greedy
      await client.query('create table t(n int, text text)')
      const load = `insert into t select n, repeat('x', 640) from generate_series(1, 12000) n`
      const loaded = (): Promise<string> =>
        client.query(load).then(
          () => 'loaded',
          ({ code }: Failure) => String(code),
        )
      let loads = 0
      let outcome = await loaded()
      for (; outcome === 'loaded'; outcome = await loaded()) {
        assert.ok(++loads < 20, 'it fills up some time')
      }
      assert.equal(outcome, '53100')
      const rows = 12_000 * loads
      // The first look at what was loaded writes all of it: who was committed is noted in each row.
      assert.equal(await greedy.value('select count(*)::int from t'), rows)
      const failure = await failureOf(client.query('update t set n = n + 1'))
      assert.equal(failure.code, '53100')
      assert.match(String(failure.detail), /the disk of this database is almost full/)
      assert.equal((await client.query('delete from t')).rowCount, rows)
      await using newcomer = await connectPg(server, 'newcomer')
      await newcomer.client.query('create table t as select 1 as n')
      await client.query('vacuum t')
      // Somebody who is there all the time gets it as well: no rest is waited for.
      const freeBytes = (): number => {
        const { bavail, bsize } = statfsSync(disk.path)
        return bavail * bsize
      }
      while (freeBytes() < 120_000_000) await client.query('select 1')
      assert.equal(await loaded(), 'loaded')
      assert.equal(await greedy.value('select count(*)::int from t'), 12_000)
    },
  )

  test('while the disk is full, data can be read', { skip: reason }, async () => {
    using disk = mountDisk('32m')
    const { server, acknowledged } = await fillDisk(disk)
    await using full = server
    await using reader = await connectPg(full, 'acme')
    assert.equal(await reader.value('select max(n) from t'), acknowledged)
  })

  test('a disk that cannot be written: the program says so', { skip: reason }, async () => {
    using disk = mountDisk('4m')
    mkdirSync(join(disk.path, 'data', 'tenants'), { recursive: true })
    run('mount', '-o', 'remount,ro', disk.path)
    const { status, stderr } = await runProgram(serveWords(join(disk.path, 'data')))
    assert.equal(status, 2)
    const { error } = JSON.parse(stderr) as { error: { message: string; hint: string } }
    assert.match(error.message, /is on a read-only disk/)
    assert.match(error.hint, /mount the disk writable/)
  })

  test('a disk without any room: the program says so', { skip: reason }, async () => {
    using disk = mountDisk('4m')
    mkdirSync(join(disk.path, 'data', 'tenants'), { recursive: true })
    fill(join(disk.path, 'filler'))
    const { status, stderr } = await runProgram(serveWords(join(disk.path, 'data')))
    assert.equal(status, 1)
    const { error } = JSON.parse(stderr) as { error: { code: string; hint: string } }
    assert.equal(error.code, 'STORE_FULL')
    assert.match(error.hint, /free space/)
  })
})

describe('threads', () => {
  test('an endless query is interrupted: 57014 for it, nothing for others', async () => {
    // With a single slot nothing can pause.
    const config = { slots: 1 }
    await using server = await startTwoShards({ config, hangMs: 1500, graceMs: 30_000 })
    const [one, other, alsoOne] = tenantsOfTwoShards()
    await using hanging = await connectPg(server, one)
    await using neighbour = await connectPg(server, other)
    await using housemate = await connectPg(server, alsoOne)
    await housemate.client.query('create table t as select 3 as n')
    await hanging.client.query('create table t as select 1 as n')
    const failed = failureOf(hanging.client.query('do $$ begin loop end loop; end $$'))
    await neighbour.client.query('create table t as select 2 as n')
    assert.equal(await neighbour.value('select n from t'), 2)
    assert.equal((await failed).code, '57014')
    assert.equal(await hanging.value('select n from t'), 1, 'on the same connection')
    assert.equal(await housemate.value('select n from t'), 3, 'one tenant only was interrupted')
  })

  test('a thread that cannot be interrupted is replaced: 57P01 for its clients only', async () => {
    await using server = await startTwoShards({ hangMs: 1500, graceMs: 1000 })
    const [one, other] = tenantsOfTwoShards()
    await using neighbour = await connectPg(server, other)
    await neighbour.client.query('create table t as select 2 as n')
    await neighbour.client.query('begin; insert into t values (3)')
    await using stuck = await connectPg(server, one)
    await stuck.client.query('create table t as select 1 as n')
    await using bystander = await connectPg(server, one)
    const told = once(bystander.client, 'error') as Promise<[{ readonly code: string }]>
    const failure = await failureOf(stuck.client.query(UNHEEDING))
    assert.equal(failure.code, '57P01')
    assert.equal((await told)[0].code, '57P01')
    await using again = await reconnect(server, one)
    assert.equal(await again.value('select n from t'), 1)
    await neighbour.client.query('commit')
    assert.deepEqual(await neighbour.column('select n from t order by n'), [2, 3])
  })
})

/** A tenant of one of two shards, one of the other, and one more of the first. */
function tenantsOfTwoShards(): readonly [string, string, string] {
  const names = Array.from({ length: 20 }, (_, index) => `tenant-${index}` as TenantName)
  const tenantOf = (shard: number, at: number): string =>
    names.filter((name) => shardOf(name, 2) === shard)[at] ?? ''
  return [tenantOf(0, 0), tenantOf(1, 0), tenantOf(0, 1)]
}

/** Connects as soon as the shard is back. */
async function reconnect(target: Target, tenant: string): Promise<PgConnection> {
  const deadlineMs = performance.now() + 10_000
  for (;;) {
    try {
      return await connectPg(target, tenant)
    } catch (error) {
      if (performance.now() > deadlineMs) throw error
    }
  }
}

interface Disk extends Disposable {
  readonly path: string
}

/** False if small disks can be mounted here, otherwise why not. */
function diskTrouble(): string | false {
  if (process.platform !== 'linux') return 'small disks are mounted with Linux’s tmpfs'
  if (process.getuid?.() !== 0) return 'only root may mount a disk of a few megabytes'
  try {
    mountDisk('1m')[Symbol.dispose]()
    return false
  } catch (error) {
    return `no disk can be mounted here: ${String(error)}`
  }
}

function mountDisk(size: string): Disk {
  const folder = temporaryFolder()
  try {
    run('mount', '-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder.path)
  } catch (error) {
    folder[Symbol.dispose]()
    throw error
  }
  return {
    path: folder.path,
    [Symbol.dispose]: () => {
      // Lazily: what a failed test left open must not hide why it failed.
      run('umount', '-l', folder.path)
      folder[Symbol.dispose]()
    },
  }
}

function run(command: string, ...words: readonly string[]): void {
  const { status, stderr } = spawnSync(command, words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} failed: ${stderr}`)
}

/** A server whose tenant `acme` has written until its disk was full, to the last byte. */
async function fillDisk(disk: Disk): Promise<{
  readonly server: ServerProcess
  readonly data: string
  readonly filler: string
  readonly acknowledged: number
}> {
  const filler = join(disk.path, 'filler')
  const data = join(disk.path, 'data')
  const server = await startServer({ data, flags: ['--shards', '1'] })
  await using connection = await connectPg(server, 'acme')
  connection.client.on('error', () => {})
  await connection.client.query('create table t(n int primary key, text text)')
  await connection.client.query("insert into t values (0, 'first')")
  fill(filler)
  for (let n = 1; ; n++) {
    const failure = await connection.client.query('insert into t values ($1)', [n]).then(
      () => undefined,
      (error: Failure) => error,
    )
    if (!failure) continue
    assert.equal(failure.code, '53100', failure.message)
    assert.match(failure.message, /no room left for the store/)
    assert.match(String(failure.hint), /free space/)
    return { server, data, filler, acknowledged: n - 1 }
  }
}

/** Takes the last byte of the disk. */
function fill(path: string): void {
  for (const bytes of [1_048_576, 4096]) {
    for (;;) {
      try {
        writeFileSync(path, Buffer.alloc(bytes), { flag: 'a' })
      } catch {
        break
      }
    }
  }
}
