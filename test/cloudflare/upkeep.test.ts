/** The alarm of a tenant's object: who is written to and then left alone is maintained. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { startPgnap, type WorkerUnderTest } from './pgnap-worker.ts'
import { runtimes } from './runtimes.ts'

const POLL_MS = 50

/** Of `GET /v1/tenants/NAME`. */
interface TenantShown {
  /** When the alarm rings; undefined: there is none. */
  readonly upkeepDueMs?: number
}

async function show(worker: WorkerUnderTest, tenant: string): Promise<TenantShown> {
  const answer = await worker.fetch(`/v1/tenants/${tenant}`)
  assert.equal(answer.status, 200)
  return (await answer.json()) as TenantShown
}

/** Until its alarm has done its work. To look is not to ask the tenant for anything. */
async function rested(worker: WorkerUnderTest, tenant: string): Promise<void> {
  while ((await show(worker, tenant)).upkeepDueMs !== undefined) await pause(POLL_MS)
}

/** WAL after the last checkpoint: what a start would have to read. */
async function walBytes(worker: WorkerUnderTest, tenant: string): Promise<number> {
  const sql = `select (pg_current_wal_insert_lsn() - redo_lsn)::int from pg_control_checkpoint()`
  return Number(await worker.ask(tenant, sql))
}

const FILL = 'create table t as select g as n from generate_series(1, 2000) g'

test('who was written to and is left alone is checkpointed and maintained, once', async () => {
  await using worker = await startPgnap({ PGNAP_UPKEEP_AFTER_SECONDS: '1' })
  await worker.ask('left', FILL)
  assert.ok((await walBytes(worker, 'left')) > 50_000)
  assert.notEqual((await show(worker, 'left')).upkeepDueMs, undefined)
  // Its memory is another one's by then, as it would be in a busy isolate.
  await worker.ask('other', 'select 1')
  await rested(worker, 'left')
  assert.ok((await walBytes(worker, 'left')) < 50_000)
  assert.equal(
    await worker.ask('left', "select reltuples::int from pg_class where relname = 't'"),
    2_000,
  )
  assert.equal((await show(worker, 'left')).upkeepDueMs, undefined, 'reading sets no alarm')
  assert.equal((await show(worker, 'other')).upkeepDueMs, undefined)
})

test('an alarm outlives the process', async (context) => {
  if (process.platform !== 'linux') return context.skip('finds the process in /proc')
  using folder = temporaryFolder()
  const open = (): Promise<WorkerUnderTest> =>
    startPgnap({ PGNAP_UPKEEP_AFTER_SECONDS: '2' }, { durableObjectsPersist: folder.path })
  {
    await using worker = await open()
    await worker.ask('left', FILL)
    assert.notEqual((await show(worker, 'left')).upkeepDueMs, undefined)
    const [id, ...others] = runtimes()
    assert.ok(id !== undefined && others.length === 0, 'one runtime')
    process.kill(id, 'SIGKILL')
  }
  await using worker = await open()
  await rested(worker, 'left')
  assert.ok((await walBytes(worker, 'left')) < 50_000)
  assert.equal(await worker.ask('left', 'select count(*)::int from t'), 2_000)
})

test('a tenant that was removed is not made again by its alarm; it can be turned off', async () => {
  await using worker = await startPgnap({ PGNAP_UPKEEP_AFTER_SECONDS: '1' })
  await worker.ask('gone', FILL)
  await worker.fetch('/v1/tenants/gone', { method: 'DELETE' })
  await worker.ask('later', FILL)
  await rested(worker, 'later')
  assert.equal((await worker.fetch('/v1/tenants/gone')).status, 404)
  await using never = await startPgnap({ PGNAP_UPKEEP_AFTER_SECONDS: '0' })
  await never.ask('left', FILL)
  assert.equal((await show(never, 'left')).upkeepDueMs, undefined)
})
