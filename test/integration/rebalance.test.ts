/**
 * Tenants that move between the threads of a real server: by themselves when their shard is hot,
 * and one by one where a test needs to know the moment. What was acknowledged is there afterwards,
 * whoever was killed, and nobody is told more than "again".
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { PgnapError } from '../../src/base/errors.ts'
import type { ShardIndex, TenantName } from '../../src/base/ids.ts'
import type { PoolFacts } from '../../src/front/control.ts'
import { shardOf } from '../../src/router/assignment.ts'
import { connectPg, failureOf } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { type TwoShards, startTwoShards } from '../support/shards.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const ALL = Array.from({ length: 60 }, (_, index) => `tenant-${index}` as TenantName)
const HOME = 0 as ShardIndex
const AWAY = 1 as ShardIndex
/** Tenants that one of two shards has by their names. */
const ofFirst = ALL.filter((name) => shardOf(name, 2) === HOME)
const [one = ALL[0], two = ALL[0]] = ofFirst as readonly (TenantName | undefined)[]
const elsewhere = ALL.find((name) => shardOf(name, 2) === AWAY)
assert.ok(one && two && elsewhere)

describe('under load', () => {
  test('tenants of a hot shard move to an idle one; kill -9 loses nothing', async () => {
    using folder = temporaryFolder()
    const [giant = '', ...hot] = ofFirst.slice(0, 7)
    const acknowledged = new Map<string, number>()
    {
      await using server = await startServer({ data: folder.path, flags: FLAGS })
      // One after the other, so that each finds its shard to have no more than the other one; and
      // before anything makes it hot.
      await using _ = await connectPg(server, elsewhere)
      await using busy = await connectPg(server, giant)
      await using connected = await connectPg(server, hot[0] ?? '')
      for (const tenant of hot) await query(server, tenant, 'create table t(n int primary key)')
      // It keeps its shard hot whoever leaves, and however slow the machine.
      const over = failureOf(busy.client.query(ENDLESS))
      const writers = hot.map((tenant) => write(server, tenant, acknowledged))
      await moved(server, 2)
      await written(acknowledged, hot)
      const [first, second, ...others] = (await shardsOf(server, [giant, ...hot])).values()
      assert.deepEqual([first, second], [HOME, HOME], 'tenants with connections stay')
      assert.ok(others.filter((shard) => shard === AWAY).length >= 2, others.join())
      assert.equal(await connected.value('select 1'), 1)
      assert.match(server.log(), /a tenant has moved to another shard/)
      // In the middle of it: the next ones may be on their way.
      await server.stop('SIGKILL')
      await Promise.all([over, ...writers])
    }
    await using again = await startServer({ data: folder.path, flags: FLAGS })
    const shards = await shardsOf(again, hot)
    for (const tenant of hot) {
      assert.equal(shards.get(tenant), HOME, 'after a restart everybody is at home')
      const last = acknowledged.get(tenant) ?? 0
      assert.ok(last > 0, tenant)
      const found = await query(again, tenant, 'select count(*)::int, max(n) from t')
      const [count = 0, max = 0] = found
      assert.ok(max === count && max >= last && max <= last + 1, `${tenant}: ${max} of ${last}`)
    }
  })

  test('with --no-rebalance nobody moves', async () => {
    await using server = await startServer({ flags: ['--shards', '2', '--no-rebalance'] })
    const until = performance.now() + 6_000
    while (performance.now() < until) {
      await Promise.all(ofFirst.slice(0, 4).map((tenant) => query(server, tenant, BUSY)))
    }
    assert.equal((await poolOf(server)).moves.done, 0)
  })
})

describe('who connects', () => {
  const eight = ofFirst.slice(0, 8)

  test('goes where fewer are, all at once or again, and finds everything there', async () => {
    using folder = temporaryFolder()
    for (const round of [1, 2]) {
      await using server = await startServer({ data: folder.path, flags: FLAGS })
      for (const count of [round * 2 - 1, round * 2]) {
        await using connections = await connectAll(server, eight)
        const { all } = connections
        await Promise.all(
          all.map(async ({ client }) => {
            await client.query('create table if not exists t(n int)')
            await client.query('insert into t values (1)')
          }),
        )
        for (const each of all) assert.equal(await each.value('select count(*)::int from t'), count)
        const shards = await shardsOf(server, eight)
        const away = eight.filter((tenant) => shards.get(tenant) === AWAY).length
        // Who comes again goes by who is there already: those of one shard may be the first.
        const isEven = count % 2 === 1 ? away === 4 : away === 4 || away === 5
        assert.ok(isEven, `${away} of 8 are away, connected to for the ${count}. time`)
      }
    }
  })

  test('also if all of them have been at home before, if that evens out more', async () => {
    await using server = await startServer({ flags: FLAGS })
    for (const tenant of eight) await query(server, tenant, 'create table t as select 1 as n')
    assert.deepEqual(new Set((await shardsOf(server, eight)).values()), new Set([HOME]))
    await using connections = await connectAll(server, eight)
    const { all } = connections
    for (const each of all) assert.equal(await each.value('select n from t'), 1)
    const shards = [...(await shardsOf(server, eight)).values()]
    assert.ok(shards.filter((shard) => shard === AWAY).length >= 3, shards.join())
  })

  test('does not go where a statement holds the thread', async () => {
    await using server = await startServer({ flags: ['--shards', '2', '--slots', '1'] })
    await using long = await connectPg(server, elsewhere)
    const [first = '', second = '', third = ''] = eight
    // Known at home, so that a difference of one lets them stay.
    for (const tenant of [first, second]) await query(server, tenant, 'select 1')
    await using one = await connectPg(server, first)
    await using two = await connectPg(server, second)
    const over = failureOf(long.client.query('select pg_sleep(1000)'))
    await untilBusy(server, AWAY)
    await using three = await connectPg(server, third, PATIENT)
    for (const each of [one, two, three]) assert.equal(await each.value('select 1'), 1)
    await server.stop('SIGKILL')
    await over
  })

  test('moves nobody by a name that nobody has', async () => {
    const flags = [...FLAGS, '--no-create-on-connect']
    await using server = await startServer({ flags })
    const [first = '', second = '', third = ''] = eight
    for (const name of [first, second, third]) {
      const body = JSON.stringify({ name })
      assert.ok((await server.request('/v1/tenants', { method: 'POST', body })).ok)
    }
    await using one = await connectPg(server, first)
    await using two = await connectPg(server, second)
    for (const name of eight.slice(3)) {
      assert.equal((await failureOf(connectPg(server, name))).code, '3D000')
    }
    assert.deepEqual((await poolOf(server)).moves, { done: 0, refused: 0, failed: 0, guests: 0 })
    await using three = await connectPg(server, third)
    for (const each of [one, two, three]) assert.equal(await each.value('select 1'), 1)
    assert.equal((await poolOf(server)).moves.done, 1)
  })

  test('finds a pinned tenant where its image is, also after a restart', async () => {
    using folder = temporaryFolder()
    const [first = '', second = ''] = eight
    {
      await using server = await startServer({ data: folder.path, flags: FLAGS })
      await query(server, second, 'create table t as select 1 as n')
      const pin = await server.request(`/v1/tenants/${second}/pin`, { method: 'POST' })
      assert.ok(pin.ok)
      await server.stop()
    }
    await using server = await startServer({ data: folder.path, flags: FLAGS })
    await using other = await connectPg(server, first)
    await using pinned = await connectPg(server, second)
    assert.equal(await pinned.value('select n from t'), 1)
    assert.deepEqual([...(await shardsOf(server, [first, second])).values()], [HOME, HOME])
    await Promise.all([other, pinned].map((each) => each[Symbol.asyncDispose]()))
  })

  test('stays at home with --no-rebalance', async () => {
    await using server = await startServer({ flags: [...FLAGS, '--no-rebalance'] })
    await using connections = await connectAll(server, eight)
    const { all } = connections
    for (const each of all) assert.equal(await each.value('select 1'), 1)
    assert.deepEqual(new Set((await shardsOf(server, eight)).values()), new Set([HOME]))
  })
})

describe('one move', () => {
  test('a napping tenant wakes from its image in the other thread', async () => {
    await using server = await startShards()
    const { shards, control } = server
    {
      await using connection = await connectPg(server, one)
      await connection.client.query('create table t as select 1 as n')
      assert.equal(await shards.move(one, AWAY), 'refused', 'somebody is connected')
    }
    await left(server, one)
    await control.napTenant(one)
    assert.equal(await shards.move(one, AWAY), 'moved')
    const { timings } = await control.query(one, { sql: 'select n from t', parameters: [] })
    assert.equal(timings.wokenFrom, 'asleep')
    assert.equal((await control.showTenant(one)).shard, AWAY)
    await using connection = await connectPg(server, one)
    await connection.client.query('insert into t values (2)')
    assert.deepEqual(await connection.column('select n from t order by n'), [1, 2])
    assert.deepEqual((await control.pool()).moves, { done: 1, refused: 1, failed: 0, guests: 1 })
  })

  test('an awake tenant moves between its calls, to and fro, while it is written to', async () => {
    await using server = await startShards()
    const { shards, control } = server
    await control.query(one, { sql: 'create table t(n int primary key)', parameters: [] })
    const over = new AbortController()
    let last = 0
    const writers = Array.from({ length: 4 }, async () => {
      while (!over.signal.aborted) {
        const n = String(++last)
        await control.query(one, { sql: 'insert into t values ($1)', parameters: [n] })
      }
    })
    let moves = 0
    for (let round = 0; round < 20; round++) {
      const to = shards.indexOf(one) === HOME ? AWAY : HOME
      if ((await shards.move(one, to)) === 'moved') moves++
    }
    over.abort()
    await Promise.all(writers)
    assert.ok(moves > 5, `${moves} moves`)
    await using connection = await connectPg(server, one)
    assert.equal(await connection.value('select count(*)::int from t'), last)
  })

  test('a sequence gives no number twice, whichever image a tenant wakes from', async () => {
    await using server = await startShards(AWAY)
    const { shards, control } = server
    await control.query(one, { sql: 'create sequence s', parameters: [] })
    const numbers: number[] = []
    const draw = async (): Promise<void> => {
      numbers.push(Number((await untilServed(server, "select nextval('s')"))[0]))
    }
    // A folder of images that has looked at what is there finds what comes from elsewhere, too.
    for (const to of [AWAY, HOME, AWAY, HOME, AWAY]) {
      await draw()
      assert.equal(await shards.move(one, to), 'moved')
      const { timings } = await control.query(one, { sql: 'select 1', parameters: [] })
      assert.equal(timings.wokenFrom, 'asleep')
      await draw()
      await draw()
    }
    // What this thread has in memory is lost; what it found on disk must not be there any more.
    await server.victim.terminate()
    await draw()
    assert.equal(await shards.move(one, HOME), 'moved')
    await draw()
    const inOrder = numbers.toSorted((a, b) => a - b)
    assert.deepEqual(numbers, inOrder)
    assert.equal(new Set(numbers).size, numbers.length, numbers.join())
  })

  test('connections that come during a move wait for it', async () => {
    await using server = await startShards()
    const { shards, control } = server
    await control.query(one, { sql: 'create table t as select 1 as n', parameters: [] })
    // The old owner is in a long statement of a neighbour: the move waits behind it.
    const slow = control.query(two, { sql: 'select pg_sleep(0.5)', parameters: [] })
    const move = shards.move(one, AWAY)
    const connections = Array.from({ length: 8 }, async () => {
      await using connection = await connectPg(server, one)
      return await connection.value('select n from t')
    })
    assert.deepEqual(
      await Promise.all(connections),
      connections.map(() => 1),
    )
    assert.equal(await move, 'moved')
    await slow
  })

  test('those that wait for a move count as connections', async () => {
    // With one slot nothing pauses: the old owner does not hear of the move.
    await using server = await startTwoShards({ config: { slots: 1 } })
    const { shards, control, connectionsMax } = server
    await control.query(one, { sql: 'select 1', parameters: [] })
    const over = new AbortController()
    const sql = 'select pg_sleep(1000)'
    const slow = failureOf(control.query(two, { sql, parameters: [] }, over.signal))
    const move = shards.move(one, AWAY)
    const tooMany = 7
    let refused = 0
    const enough = Promise.withResolvers<void>()
    const all = Array.from({ length: connectionsMax + tooMany }, async () => {
      try {
        await using connection = await connectPg(server, one, PATIENT)
        return await connection.value('select 1')
      } catch (error) {
        if (++refused === tooMany) enough.resolve()
        return (error as { code?: string }).code
      }
    })
    await enough.promise
    over.abort()
    const answers = await Promise.all(all)
    assert.equal(answers.filter((answer) => answer === 1).length, connectionsMax)
    assert.equal(answers.filter((answer) => answer === '53300').length, tooMany)
    assert.equal(await move, 'moved')
    await slow
  })

  test('a tenant is deleted and made again while it moves', async () => {
    await using server = await startShards()
    const { shards, control } = server
    for (let round = 0; round < 6; round++) {
      await control.query(one, { sql: 'create table t as select 1 as n', parameters: [] })
      const to = shards.indexOf(one) === HOME ? AWAY : HOME
      const move = shards.move(one, to)
      await control.deleteTenant(one)
      await control.createTenant(one)
      assert.notEqual(await move, 'failed')
      const sql = "select to_regclass('t')::text"
      const { result } = await control.query(one, { sql, parameters: [] })
      assert.deepEqual(result.rows, [[null]], 'nothing of the former one is left')
    }
  })
})

test('a tenant that is gone takes no place among those that are away', async () => {
  await using server = await startShards()
  const { shards, control } = server
  await control.query(one, { sql: 'select 1', parameters: [] })
  assert.equal(await shards.move(one, AWAY), 'moved')
  assert.equal((await control.pool()).moves.guests, 1)
  await control.deleteTenant(one)
  await control.createTenant(one)
  assert.equal(shards.indexOf(one), HOME)
  assert.equal((await control.pool()).moves.guests, 0)
})

describe('threads that end in a move', () => {
  for (const [who, victim] of [
    ['old', HOME],
    ['new', AWAY],
  ] as const) {
    test(`the ${who} owner's: one owner is left, and nothing acknowledged is lost`, async () => {
      for (const delayMs of [0, 2, 8]) {
        await using server = await startShards(victim)
        const { shards, control } = server
        await control.query(one, { sql: 'create table t as select 1 as n', parameters: [] })
        const move = shards.move(one, AWAY)
        const during = control.query(one, { sql: 'insert into t values (2)', parameters: [] })
        const told = during.then(
          () => 'acknowledged',
          (error: unknown) => (error instanceof PgnapError ? error.code : String(error)),
        )
        await delay(delayMs)
        await server.victim.terminate()
        const outcome = await move
        const answer = await told
        assert.ok(['acknowledged', 'SHARD_LOST'].includes(answer), answer)
        const rows = await untilServed(server, 'select n from t order by n')
        const isWhole = rows.length === 2 || (rows.length === 1 && answer === 'SHARD_LOST')
        assert.ok(isWhole, `${outcome}, ${answer}: ${rows.join()}`)
        const expected = outcome === 'moved' ? AWAY : HOME
        assert.equal(shards.indexOf(one), expected)
        await untilServed(server, 'insert into t values (3) returning n')
      }
    })
  }
})

/** For whoever might wait for what does not end by itself. */
const PATIENT = { connectionTimeoutMillis: 20_000 }
const FLAGS = ['--shards', '2', '--slots', '4', '--log-level', 'info']
/** Some ten milliseconds of a shard's time, and next to nothing of the main thread's. */
const BUSY = 'select count(*)::int from generate_series(1, 100000)'
/** More rows than anybody waits for. */
const ENDLESS = `${BUSY} a, generate_series(1, 100000) b, generate_series(1, 100000) c`

/** The numbers of the first row. */
async function query(server: ServerProcess, tenant: string, sql: string): Promise<number[]> {
  const body = JSON.stringify({ sql, arrayMode: true })
  const answer = await server.request(`/v1/tenants/${tenant}/query`, { method: 'POST', body })
  const { rows = [], error } = (await answer.json()) as {
    rows?: number[][]
    error?: { message: string }
  }
  assert.ok(answer.ok, error?.message ?? '')
  return rows[0] ?? []
}

/**
 * Inserts 1, 2, 3, ... until the server is gone. Each is short: one that pauses on a hot shard may
 * be in flight for longer than a move waits. And after each it rests for as long as that has taken:
 * who has moved, and has a thread to himself, leaves half of it idle, so that the next one follows.
 */
async function write(
  server: ServerProcess,
  tenant: string,
  acknowledged: Map<string, number>,
): Promise<void> {
  for (let n = 1; ; n++) {
    const startMs = performance.now()
    try {
      await query(server, tenant, `insert into t values (${n})`)
    } catch (error) {
      if (error instanceof TypeError) return
      throw error
    }
    acknowledged.set(tenant, n)
    await delay(performance.now() - startMs)
  }
}

/** Until something of each tenant has been acknowledged. */
async function written(
  acknowledged: ReadonlyMap<string, number>,
  tenants: readonly string[],
): Promise<void> {
  const deadlineMs = performance.now() + 30_000
  while (!tenants.every((tenant) => acknowledged.has(tenant))) {
    assert.ok(performance.now() < deadlineMs, `only ${[...acknowledged.keys()].join()}`)
    await delay(20)
  }
}

async function poolOf(server: ServerProcess): Promise<PoolFacts> {
  return (await (await server.request('/v1/pool')).json()) as PoolFacts
}

/** Until a thread has been held for longer than any look at it takes. */
async function untilBusy(server: ServerProcess, shard: ShardIndex): Promise<void> {
  await using console = await connectPg(server, 'pgnap')
  const deadlineMs = performance.now() + 30_000
  for (;;) {
    const { rows } = await console.client.query<{ silent_ms: number }>('show shards')
    if (Number(rows[shard]?.silent_ms) > 500) return
    assert.ok(performance.now() < deadlineMs, JSON.stringify(rows))
    await delay(20)
  }
}

async function moved(server: ServerProcess, count: number): Promise<void> {
  const deadlineMs = performance.now() + 30_000
  for (;;) {
    const { moves } = await poolOf(server)
    if (moves.done >= count) return
    assert.ok(performance.now() < deadlineMs, `only ${moves.done} have moved`)
    // Who only asks would take the time of those that are to be busy.
    await delay(20)
  }
}

async function shardsOf(
  server: ServerProcess,
  names: readonly string[],
): Promise<Map<string, number>> {
  const shards = new Map<string, number>()
  for (const name of names) {
    const answer = await server.request(`/v1/tenants/${name}`)
    shards.set(name, ((await answer.json()) as { shard: number }).shard)
  }
  return shards
}

/** Two shards with slots that are reused soon; the victim is the first thread of `victimIndex`. */
const startShards = (victimIndex: ShardIndex = HOME): Promise<TwoShards> =>
  startTwoShards({ config: { slots: 2, verifySwaps: true }, victimIndex })

/** Asks until the thread that was lost is there again. */
async function untilServed({ control }: TwoShards, sql: string): Promise<readonly unknown[]> {
  const deadlineMs = performance.now() + 20_000
  for (;;) {
    try {
      const { result } = await control.query(one as string, { sql, parameters: [] })
      return result.rows.map(([value]) => value)
    } catch (error) {
      const isLost = error instanceof PgnapError && error.code === 'SHARD_LOST'
      if (!isLost || performance.now() > deadlineMs) throw error
    }
    await delay(20)
  }
}

/** Until the main thread has seen the last connection of a tenant go. */
async function left({ shards }: TwoShards, tenant: TenantName): Promise<void> {
  const deadlineMs = performance.now() + 10_000
  while (shards.assignments.isConnected(tenant)) {
    assert.ok(performance.now() < deadlineMs, 'the connection is still there')
    await delay(5)
  }
}

/** Connections to several tenants, opened and closed at once. */
async function connectAll(server: ServerProcess, tenants: readonly TenantName[]) {
  const all = await Promise.all(tenants.map((tenant) => connectPg(server, tenant)))
  const close = (): Promise<unknown> => Promise.all(all.map((each) => each[Symbol.asyncDispose]()))
  return { all, [Symbol.asyncDispose]: async () => void (await close()) }
}
