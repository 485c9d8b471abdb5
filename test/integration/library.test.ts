/** pgnap inside a program, without any port. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { openPgnap } from '../../src/host/node/open-pgnap.ts'
import { failureOf } from '../support/clients.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

test('values have types, statements have parameters, errors have codes', async () => {
  using folder = temporaryFolder()
  await using nap = await openPgnap({ data: join(folder.path, 'data'), shards: 2 })
  const acme = nap.tenant('acme')
  const { rows } = await acme.query(
    `select $1::int + 1 as n, $2::text as text, $3::bool as yes, $4::jsonb as json,
            $5::int[] as list, $6::bytea as bytes, null::text as nothing, 1.5::float8 as float`,
    [41, 'ü 🐘', true, { a: [1] }, [1, 2], Uint8Array.of(0, 255)],
  )
  assert.deepEqual(rows.length, 1)
  const [row] = rows
  assert.ok(row)
  const { bytes, ...others } = row
  assert.deepEqual(others, {
    n: 42,
    text: 'ü 🐘',
    yes: true,
    json: { a: [1] },
    list: [1, 2],
    nothing: null,
    float: 1.5,
  })
  assert.deepEqual([...(bytes as Uint8Array)], [0, 255])
  const name = "Robert'); drop table t; --"
  assert.deepEqual((await acme.sql`select ${name}::text as name`).rows, [{ name }])
  const made = await acme.query('create table t(n int)')
  assert.deepEqual([made.command, made.rowCount], ['CREATE', null])
  assert.equal((await acme.query('insert into t values (1), (2)')).rowCount, 2)
  const big = await acme.query('select 9007199254740993::int8 as n', [], {
    readers: { 20: BigInt },
  })
  assert.deepEqual(big.rows, [{ n: 9_007_199_254_740_993n }])
  const failure = await failureOf(acme.query('select * from nowhere'))
  assert.match(failure.message, /relation "nowhere" does not exist/)
})

test('tenants are made, listed, put to sleep, removed; data outlives the program', async () => {
  using folder = temporaryFolder()
  const data = join(folder.path, 'data')
  {
    await using nap = await openPgnap({ data })
    for (const name of ['one', 'two', 'three']) await nap.tenants.create(name)
    assert.equal((await failureOf(nap.tenants.create('one'))).code, 'TENANT_EXISTS')
    assert.deepEqual(
      (await nap.tenants.list()).tenants.map(({ name }) => name),
      ['one', 'three', 'two'],
    )
    await nap.tenant('one').query('create table t as select 1 as n')
    assert.notEqual((await nap.tenants.nap('one')).state, 'awake')
    assert.deepEqual((await nap.tenant('one').query('select n from t')).rows, [{ n: 1 }])
    assert.equal((await nap.tenants.show('one')).state, 'awake')
    await nap.tenants.delete('two')
    assert.equal((await failureOf(nap.tenants.show('two'))).code, 'TENANT_UNKNOWN')
    assert.equal((await failureOf(openPgnap({ data }))).code, 'DATA_FOLDER_IN_USE')
  }
  await using nap = await openPgnap({ data })
  assert.deepEqual((await nap.tenant('one').query('select n from t')).rows, [{ n: 1 }])
})

test('queries of many tenants get their own answers; after close all is refused', async () => {
  using folder = temporaryFolder()
  const nap = await openPgnap({ data: join(folder.path, 'data'), slots: 3 })
  const answers = await Promise.all(
    Array.from({ length: 24 }, async (_, index) => {
      const tenant = nap.tenant(`tenant-${index % 8}`)
      return (await tenant.query<{ n: number }>('select $1::int as n', [index])).rows[0]?.n
    }),
  )
  assert.deepEqual(answers, [...answers.keys()])
  await nap.close()
  await nap.close()
  assert.equal((await failureOf(nap.tenant('tenant-0').query('select 1'))).code, 'SHUTTING_DOWN')
})
