/**
 * Advisory locks among clients of one tenant: who holds one keeps nobody waiting but those who want
 * the same. Every test begins with what native Postgres does.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { SeededRandom } from '../../src/base/random.ts'
import { cancelPg, connectPg, failureOf } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1', '--slots', '2'] })
})
after(() => server[Symbol.asyncDispose]())

type Connection = Awaited<ReturnType<typeof connectPg>>

/** Two clients of a tenant that nobody has used before. */
async function two(tenant: string): Promise<readonly [Connection, Connection]> {
  return [await connectPg(server, tenant), await connectPg(server, tenant)]
}

const end = async (...connections: readonly Connection[]): Promise<void> => {
  for (const { client } of connections) await client.end()
}

/** Whether it has not settled after what anybody needs who does not wait. */
async function isWaiting(answer: Promise<unknown>): Promise<boolean> {
  return await Promise.race([answer.then(() => false), delay(150, true)])
}

const LOCK = 'select pg_advisory_lock(7)'
const UNLOCK = 'select pg_advisory_unlock(7)'

test('who holds one keeps nobody from anything else', async () => {
  const [one, other] = await two('others')
  await one.client.query(`create table t (n int); ${LOCK}`)
  for (let turn = 0; turn < 3; turn++) {
    await other.client.query('insert into t values (1)')
    assert.equal(await one.value('select count(*)::int from t'), turn + 1)
    assert.equal(await other.value('select pg_try_advisory_lock(7)'), false)
    assert.equal(await other.value('select pg_try_advisory_lock(8)'), true)
    await server.request('/v1/tenants/others/nap', { method: 'POST' })
    assert.equal(await one.value('select pg_try_advisory_lock(8)'), false)
    assert.equal(await other.value('select pg_advisory_unlock(8)'), true)
  }
  assert.equal(await one.value(UNLOCK), true)
  assert.equal(await other.value('select pg_try_advisory_lock(7)'), true)
  await end(one, other)
})

describe('who wants what another one holds waits', () => {
  for (const [how, give] of [
    ['gives it back', async ({ client }: Connection) => void (await client.query(UNLOCK))],
    ['gives all back', async ({ client }: Connection) => void (await client.query('discard all'))],
    ['leaves', async ({ client }: Connection) => await client.end()],
    ['is cut off', async ({ client }: Connection) => void client.connection.stream.destroy()],
  ] as const) {
    test(`until that one ${how}, and others go on meanwhile`, async () => {
      const tenant = `until-${how.replaceAll(' ', '-')}`
      const [one, other] = await two(tenant)
      await using third = await connectPg(server, tenant)
      one.client.on('error', () => {})
      await one.client.query(`create table t (n int); ${LOCK}`)
      const locked = other.value(`${LOCK}, 5 as n`)
      assert.ok(await isWaiting(locked))
      await third.client.query('insert into t values (1)')
      assert.equal(await one.value('select count(*)::int from t'), 1)
      assert.ok(await isWaiting(locked))
      const activity = `select state from pg_stat_activity where query like '%5 as n' and pid <>
        pg_backend_pid()`
      assert.equal(await third.value(activity), 'active')
      await give(one)
      await locked
      assert.equal(await third.value('select pg_try_advisory_lock(7)'), false, 'it has it now')
      await end(other)
      if (!how.includes('leaves') && !how.includes('cut')) await end(one)
    })
  }

  test('in a statement with a name, a pipeline, a block, a transaction of one query', async () => {
    const [one, other] = await two('ways')
    await one.client.query('create table t (n int)')
    const ways = [
      { name: 'named', text: 'select pg_advisory_lock($1)::text, 5', values: [7] },
      { text: `begin; ${LOCK}; insert into t values (1); commit` },
      { text: 'select pg_advisory_xact_lock(7)' },
      {
        text: `do $$ begin perform pg_advisory_lock(7); exception when others then
          raise notice 'caught'; end $$`,
      },
    ]
    for (const query of ways) {
      await one.client.query(LOCK)
      const answer = other.client.query(query)
      assert.ok(await isWaiting(answer), query.text)
      await one.client.query(UNLOCK)
      await answer
      await other.client.query('select pg_advisory_unlock_all()')
      assert.equal(await one.value('select pg_try_advisory_lock(7)'), true, query.text)
      await one.client.query(UNLOCK)
    }
    assert.equal(await other.value('select count(*)::int from t'), 1, 'it was done once')
    await end(one, other)
  })

  test('one after the other, and shared locks together', async () => {
    const clients = await Promise.all(Array.from({ length: 6 }, () => connectPg(server, 'many')))
    const [first, ...rest] = clients
    assert.ok(first)
    await first.client.query('create table log (n int); select pg_advisory_lock(7)')
    let inside = 0
    const all = rest.map(async ({ client }, n) => {
      await client.query(LOCK)
      assert.equal(++inside, 1, 'one at a time')
      await client.query('insert into log values ($1)', [n])
      await delay(5)
      inside--
      await client.query(UNLOCK)
      await client.query('select pg_advisory_lock_shared(9)')
    })
    await delay(100)
    await first.client.query(UNLOCK)
    await Promise.all(all)
    assert.equal(await first.value('select count(*)::int from log'), 5)
    assert.equal(await first.value('select pg_try_advisory_lock_shared(9)'), true)
    assert.equal(await first.value('select pg_try_advisory_lock(9)'), false)
    await end(...clients)
  })

  test('no longer than lock_timeout or statement_timeout say, nor when cancelled', async () => {
    const [one, other] = await two('bounded')
    await one.client.query(LOCK)
    for (const [setting, code] of [
      ['lock_timeout', '55P03'],
      ['statement_timeout', '57014'],
    ] as const) {
      await other.client.query(`set ${setting} = 100`)
      const error = await failureOf(other.client.query(LOCK))
      assert.equal(error.code, code)
      assert.match(error.message, new RegExp(setting.replace('_', ' ')))
      await other.client.query(`reset ${setting}`)
    }
    const pid = await other.value('select pg_backend_pid()')
    for (const cancel of [
      () => one.client.query('select pg_cancel_backend($1)', [pid]),
      () => cancelPg(server, other),
    ]) {
      const cancelled = failureOf(other.client.query(LOCK))
      await delay(100)
      await cancel()
      assert.equal((await cancelled).code, '57014')
      assert.equal(await other.value('select 1'), 1, 'the session goes on')
    }
    const terminated = failureOf(other.client.query(LOCK))
    other.client.on('error', () => {})
    await delay(100)
    await one.client.query('select pg_terminate_backend($1)', [pid])
    assert.equal((await terminated).code, '57P01')
    await end(one)
  })

  test('not for each other', async () => {
    const [one, other] = await two('circle')
    await one.client.query('select pg_advisory_lock(1)')
    await other.client.query('select pg_advisory_lock(2)')
    const waiting = one.value('select pg_advisory_lock(2)')
    assert.ok(await isWaiting(waiting))
    const error = await failureOf(other.client.query('select pg_advisory_lock(1)'))
    assert.equal(error.code, '40P01')
    await other.client.query('select pg_advisory_unlock(2)')
    await waiting
    await end(one, other)
  })

  test('not in a transaction that has begun before: it fails', async () => {
    const [one, other] = await two('begun')
    await one.client.query(LOCK)
    await other.client.query('begin')
    assert.equal((await failureOf(other.client.query(LOCK))).code, '55P03')
    await other.client.query('rollback')
    await one.client.query(UNLOCK)
    await other.client.query(`begin; ${LOCK}; commit`)
    await end(one, other)
  })
})

test('a random game: nobody has what another one has, and everybody comes to an end', async () => {
  const seed = Math.trunc(Math.random() * 1e9)
  const random = new SeededRandom(seed)
  const owners = new Map<number, Set<number>>()
  const players = Array.from({ length: 6 }, async (_, player) => {
    await using connection = await connectPg(server, 'game')
    for (let round = 0; round < 12; round++) {
      const held: number[] = []
      // In any order, so that they wait in circles now and then.
      for (const key of [1, 2, 3]) {
        if (random.below(2) === 0) continue
        const isTry = random.below(3) === 0
        const sql = `select pg_${isTry ? 'try_' : ''}advisory_lock(${(key + player) % 3})`
        try {
          if ((await connection.value(sql)) === false) continue
        } catch (error) {
          assert.equal((error as { code?: string }).code, '40P01')
          break
        }
        held.push((key + player) % 3)
        const others = owners.get((key + player) % 3) ?? new Set()
        owners.set((key + player) % 3, others.add(player))
        assert.equal(others.size, 1, `seed ${seed}`)
      }
      if (random.below(4) === 0) await server.request('/v1/tenants/game/nap', { method: 'POST' })
      for (const key of held) owners.get(key)?.delete(player)
      if (random.below(2) === 0) await connection.client.query('select pg_advisory_unlock_all()')
      else
        for (const key of held) await connection.client.query(`select pg_advisory_unlock(${key})`)
    }
  })
  await Promise.all(players)
})
