/**
 * The failure scenarios of seed 000, section 3.2, wherever Postgres and the store are in different
 * places: `/factory`, `/ws`, `/lazy-wasm` and, while it delegates and afterwards, `/hybrid`. Those
 * of `/thin` are with its strategies (`strategies.test.ts`), scenario 1 in
 * `computes-restart.test.ts`.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { LIMITS } from '../../src/base/limits.ts'
import {
  type ArchitecturesUnderTest,
  type QueryBody,
  startFailingArchitectures,
} from './architectures-worker.ts'

const DELEGATING = ['factory', 'ws', 'lazy-wasm'] as const

let worker: ArchitecturesUnderTest
before(async () => {
  worker = await startFailingArchitectures()
})
after(() => worker[Symbol.asyncDispose]())

/** One tenant of an architecture. */
class Tenant {
  readonly #architecture: string
  readonly #name: string

  constructor(architecture: string, name: string) {
    this.#architecture = architecture
    this.#name = name
  }

  async told(sql: string, query = ''): Promise<QueryBody> {
    const path = `/${this.#architecture}/query${query}`
    return (await (await worker.post(path, this.#name, { sql })).json()) as QueryBody
  }

  async ask(sql: string, query?: string): Promise<unknown> {
    const { rows } = await this.#answer(sql, query)
    return Object.values(rows[0] ?? {})[0]
  }

  async #answer(sql: string, query?: string): Promise<QueryBody> {
    const body = await this.told(sql, query)
    assert.equal(body['error'], undefined, `${sql}: ${JSON.stringify(body)}`)
    return body
  }

  /** The code and SQLSTATE of what is refused, and how long that took. */
  async refused(sql: string, query?: string): Promise<readonly [string, string, number]> {
    const startMs = performance.now()
    const body = await this.told(sql, query)
    const error = body['error'] as { code: string; sqlState: string } | undefined
    assert.ok(error, `${sql}: ${JSON.stringify(body)}`)
    return [error.code, error.sqlState, performance.now() - startMs]
  }

  /** The next calls of its home fail; without `faults` none does any more. */
  async fail(faults = ''): Promise<void> {
    await worker.get(`/fail/${this.#architecture}/${this.#name}?${faults}`)
  }

  /** Another compute, which has nothing to do with that of the architecture. */
  async second(sql: string): Promise<string> {
    const path = `/second/${this.#architecture}/${this.#name}`
    return (await worker.post(path, this.#name, { sql })).text()
  }

  async untilLocal(): Promise<void> {
    for (let tries = 0; tries < 200; tries++) {
      if ((await this.#answer('select 1')).servedBy === 'tenant-object') return
    }
    assert.fail(`${this.#name} is still cold`)
  }
}

for (const architecture of DELEGATING) {
  test(`${architecture}, scenario 2: what cannot be stored is an error, and gone`, async () => {
    const tenant = new Tenant(architecture, 'unstored')
    await tenant.ask('create table t as select 1 as n')
    await tenant.fail('call=deliver&what=storage')
    const [code, sqlState] = await tenant.refused('update t set n = 2')
    assert.deepEqual([code, sqlState], ['STORE_IO', '58030'])
    assert.equal(await tenant.ask('select n from t'), 1)
    assert.equal(await tenant.ask('update t set n = 3 returning n'), 3)
    assert.match(await tenant.second('select n from t'), /\[\["3"\]\]/)
  })

  test(`${architecture}, scenario 3: without a way home it fails soon`, async () => {
    const tenant = new Tenant(architecture, 'cut')
    await tenant.ask('create table t as select 1 as n')
    assert.equal(await tenant.ask('select n from t'), 1)
    for (const what of ['request-lost', 'no-answer']) {
      // Somebody else has written: what the compute has is not what the home has.
      await tenant.second('update t set n = n + 1')
      await tenant.fail(`call=fetchRows&what=${what}`)
      const [code, sqlState, ms] = await tenant.refused('select n from t')
      assert.deepEqual([code, sqlState], ['SERVER_UNREACHABLE', '08001'])
      assert.ok(ms < 2 * LIMITS.homeAnswerMs, `${ms} ms`)
    }
    await tenant.fail('call=fetchRows&what=request-lost&times=2')
    const stale = await tenant.told('select n from t', '?stale=allow')
    assert.deepEqual(stale.rows, [{ n: 1 }])
    assert.ok((stale['stale'] as { ageMs: number }).ageMs >= 0)
    const [, sqlState] = await tenant.refused('update t set n = 9', '?stale=allow')
    assert.equal(sqlState, '25006')
    await tenant.fail()
    assert.equal(await tenant.ask('select n from t'), 3)
  })

  test(`${architecture}, scenario 3: what nobody has heard of is not acknowledged`, async () => {
    const tenant = new Tenant(architecture, 'unheard')
    await tenant.ask('create table t(n int)')
    await tenant.fail('call=deliver&what=answer-lost')
    const [code, sqlState] = await tenant.refused('insert into t values (1)')
    assert.deepEqual([code, sqlState], ['OUTCOME_UNKNOWN', '08007'])
    assert.equal(await tenant.ask('select count(*)::int from t'), 1)
    await tenant.fail('call=deliver&what=answer-lost&times=3')
    await tenant.ask('insert into t values (2)', '?write=cdc')
    assert.equal(await tenant.ask('select array_agg(n)::text from t'), '{1,2}')
  })

  test(`${architecture}, scenario 4: of two computes that write exactly one wins`, async () => {
    const tenant = new Tenant(architecture, 'contested')
    await tenant.ask('create table t(n int primary key)')
    let expected = 0
    for (let round = 0; round < 8; round++) {
      const both = await Promise.all([
        tenant.told(`insert into t values (${2 * round})`).then((body) => JSON.stringify(body)),
        tenant.second(`insert into t values (${2 * round + 1})`),
      ])
      const refused = both.filter((text) => text.includes('"error"'))
      for (const text of refused) assert.match(text, /STORE_FENCED/)
      assert.ok(refused.length <= 1, both.join(' '))
      expected += 2 - refused.length
      assert.equal(await tenant.ask('select count(*)::int from t'), expected)
    }
    assert.match(
      await tenant.second('select count(*)::int from t'),
      new RegExp(`\\[\\["${expected}"\\]\\]`),
    )
  })
}

test('hybrid, scenario 2: what cannot be stored is gone, whoever has run it', async () => {
  const tenant = new Tenant('hybrid', 'unstored')
  await tenant.fail('call=deliver&what=storage')
  const [delegated] = await tenant.refused('create table t as select 1 as n')
  assert.equal(delegated, 'STORE_IO')
  await tenant.ask('create table t as select 1 as n')
  await tenant.untilLocal()
  await worker.get('/break/hybrid/unstored')
  const [local, sqlState] = await tenant.refused('update t set n = 2')
  assert.deepEqual([local, sqlState], ['STORE_IO', '58030'])
  await worker.get('/mend/hybrid/unstored')
  assert.equal(await tenant.ask('select n from t'), 1)
  assert.equal(await tenant.ask('update t set n = 3 returning n'), 3)
})

test('hybrid, scenario 3: a compute that cannot load, or is not heard, is told of', async () => {
  for (const what of ['request-lost', 'no-answer']) {
    const tenant = new Tenant('hybrid', what)
    await tenant.fail(`call=fetchRows&what=${what}`)
    const [code, , ms] = await tenant.refused('create table t(n int)')
    assert.equal(code, 'SERVER_UNREACHABLE')
    assert.ok(ms < 2 * LIMITS.homeAnswerMs, `${ms} ms`)
    await tenant.untilLocal()
    assert.equal(await tenant.ask("select to_regclass('t')"), null)
  }
  const tenant = new Tenant('hybrid', 'unheard')
  await tenant.fail('call=deliver&what=answer-lost')
  const [code] = await tenant.refused('create table t as select 1 as n')
  assert.equal(code, 'OUTCOME_UNKNOWN')
  assert.equal(await tenant.ask('select n from t'), 1)
  for (const [lost, found] of [
    ['request-lost', null],
    ['answer-lost', 't'],
  ] as const) {
    const other = new Tenant('hybrid', `compute-${lost}`)
    await worker.get(`/lose/${lost}`)
    assert.equal((await other.refused('create table t(n int)'))[0], 'OUTCOME_UNKNOWN')
    // By its own Postgres it goes on with what is stored.
    await other.untilLocal()
    assert.equal(await other.ask("select to_regclass('t')::text"), found)
  }
})

test('hybrid, scenario 4: of object and compute that write at once exactly one wins', async () => {
  for (let round = 0; round < 6; round++) {
    const tenant = new Tenant('hybrid', `contested-${round}`)
    await tenant.ask('create table t(n int primary key)')
    const both = await Promise.all([
      tenant.told('insert into t values (1)').then((body) => JSON.stringify(body)),
      tenant.second('insert into t values (2)'),
    ])
    const refused = both.filter((text) => text.includes('"error"'))
    for (const text of refused) assert.match(text, /STORE_FENCED/)
    assert.ok(refused.length <= 1, both.join(' '))
    assert.equal(await tenant.ask('select count(*)::int from t'), 2 - refused.length)
    await tenant.untilLocal()
    assert.equal(await tenant.ask('select count(*)::int from t'), 2 - refused.length)
  }
})
