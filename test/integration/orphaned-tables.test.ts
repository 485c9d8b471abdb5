/** Temporary tables that nobody is left to drop. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dropOrphans } from '../../src/pool/orphaned-tables.ts'
import { EMPTY_FRAME } from '../../src/engine/session-memory.ts'
import { NO_TEMPORARY } from '../../src/engine/temporary-schemas.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { createEngine, loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { connectPg } from '../support/clients.ts'
import { runSql, valueOf } from '../support/messages.ts'
import { startServer } from '../support/server.ts'

const COUNT = `select count(*)::int from pg_class where relpersistence = 't' and relkind = 'r'`
const PATIENCE_MS = 60_000

test('some at a time are dropped, whatever depends on them, and nobody’s who goes on', async () => {
  const engine = await createEngine(await loadEngineParts(), {
    clock: systemClock,
    random: systemRandom,
  })
  const slot = await engine.createSlot()
  slot.begin(TenantFiles.inMemory({ template: engine.template, clock: systemClock }))
  const enter = (number: number): void => {
    slot.session.frame = { ...EMPTY_FRAME, temporary: { ...NO_TEMPORARY, number } }
  }
  assert.equal(dropOrphans(slot, []), false, 'there are none')
  const tables = Array.from({ length: 120 }, (_, n) => `create temp table "t ${n}" (v text)`)
  runSql(
    slot,
    `${tables.join(';')}; create temp table parts (n int) partition by list (n);
    create temp table part partition of parts default; create temp view v as table "t 3"`,
  )
  enter(1)
  runSql(slot, 'create table kept as select 1; create temp table mine as select 1 as n')
  const own = slot.session.frame.temporary.schema
  // Names are looked for where nothing of Postgres is found.
  runSql(slot, 'create schema elsewhere; set search_path = elsewhere, pg_catalog')
  assert.equal(dropOrphans(slot, [own]), true)
  while (dropOrphans(slot, [own]));
  assert.equal(valueOf(slot, COUNT), '1')
  assert.equal(valueOf(slot, 'select n from mine'), '1')
  runSql(slot, 'create role nobody; grant usage on schema pg_toast to nobody')
  enter(2)
  runSql(slot, 'set role nobody')
  assert.equal(dropOrphans(slot, []), false, 'who must not drop them does not try for ever')
  runSql(slot, 'reset role')
  assert.equal(valueOf(slot, COUNT), '1')
})

test('of a server that was stopped: upkeep drops them', async () => {
  let server = await startServer()
  const { data } = server
  await using _ = server
  const clients = [await connectPg(server, 'acme'), await connectPg(server, 'acme')]
  for (const { client } of clients) {
    client.on('error', () => {})
    await client.query('create temporary table mine (n int)')
  }
  await server.stop()
  server = await startServer({ data })
  await using __ = server
  await using connection = await connectPg(server, 'acme')
  await connection.client.query('create temporary table own as select 5 as n')
  const endMs = performance.now() + PATIENCE_MS
  while ((await connection.value(COUNT)) !== 1) {
    assert.ok(performance.now() < endMs, 'they are dropped when the tenant rests')
    await new Promise((resolve) => setTimeout(resolve, 400))
  }
  assert.equal(await connection.value('select n from own'), 5)
})
