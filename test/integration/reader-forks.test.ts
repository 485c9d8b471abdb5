/** Reading beside an open transaction, in one pool with a real engine and real stores. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { concatBytes } from '../../src/base/bytes.ts'
import { PgnapError } from '../../src/base/errors.ts'
import type { TenantName } from '../../src/base/ids.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import { NOT_FOR_FORKS } from '../../src/engine/write-watch.ts'
import { readAnswer } from '../../src/front/wire/result.ts'
import type { PoolClient } from '../../src/pool/pool-client.ts'
import type { PoolLimits } from '../../src/pool/pool-model.ts'
import { ask, ImageWorld, verifyingEngine } from '../support/image-world.ts'
import { say } from '../support/messages.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let engine: WasmEngine
before(async () => {
  engine = await verifyingEngine()
})

async function turns(world: ImageWorld, ms = 2): Promise<void> {
  world.clock.advance(ms)
  for (let round = 0; round < 20; round++) {
    world.clock.advance(0)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

interface Desk extends Disposable {
  readonly world: ImageWorld
  readonly connect: () => PoolClient
  /** Undefined: it waits. */
  readonly now: (client: PoolClient, sql: string) => Promise<string | null | undefined>
}

async function desk(limits: Partial<PoolLimits> = {}, tenant = 'acme'): Promise<Desk> {
  const folder = temporaryFolder()
  const world = new ImageWorld({ engine, path: folder.path, limits: { slotsPerShard: 3, ...limits } })
  const name = world.newTenant(tenant)
  return {
    world,
    connect: () => world.pool.connect(name),
    now: async (client, sql) => {
      const waits = Symbol('waits')
      const answer = ask(client, sql)
      answer.catch(() => {})
      await turns(world)
      const told = await Promise.race([answer, Promise.resolve(waits)])
      assert.notEqual(told, waits, `${sql} does not wait`)
      return told as string | null | undefined
    },
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  }
}

test('debug', async () => {
  using d = await desk()
  const [a, b] = [d.connect(), d.connect()]
  await ask(a, 'create table t(n int primary key); insert into t values (1),(2)')
  await ask(a, 'begin')
  await ask(a, 'insert into t values (3)')
  assert.equal(await d.now(b, 'select count(*) from t'), '2')
  console.log(d.world.pool.statistics().forks, d.world.pool.overview().slots)
  assert.equal(await d.now(b, 'select count(*) from t'), '2')
  await ask(a, 'commit')
  assert.equal(await d.now(b, 'select count(*) from t'), '3')
  console.log(d.world.pool.statistics().forks)
})
