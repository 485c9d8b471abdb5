/**
 * Sessions with temporary tables by turns in one backend, over naps, against the same sessions each
 * in a backend of its own: none may tell which it is in.
 */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import fc from 'fast-check'
import { EMPTY_FRAME, type SessionFrame } from '../../src/engine/session-memory.ts'
import { NO_TEMPORARY } from '../../src/engine/temporary-schemas.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { createEngine, loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { runSql } from '../support/messages.ts'

let engine: WasmEngine
before(async () => {
  engine = await createEngine(await loadEngineParts(), {
    clock: systemClock,
    random: systemRandom,
    verifySwaps: true,
  })
})

const SESSIONS = 3
/** In every backend. What they name is whatever the session that calls them has under that name. */
const SETUP = `
  create view t1 as select -1 as n, 'everybody'::text as v;
  create function plpg() returns text language plpgsql as $$
    declare r record; found text := '';
    begin
      for r in select n, left(v::text, 9) as v from t1 order by n, v loop
        found := found || r.n || r.v;
      end loop;
      return found;
    exception when others then return sqlstate;
    end $$;
  create function plain() returns bigint language sql as 'select count(*) from t1';
  create function changes() returns void language plpgsql as
    'begin insert into t2 values (3, 3); update t2 set n = n + 1; end';`

const table = fc.constantFrom('t1', 't2', 't3')
const rows = fc.constantFrom(1, 3, 40)
const statement: fc.Arbitrary<string> = fc.oneof(
  fc
    .record({ table, end: fc.constantFrom('', '', 'on commit delete rows', 'on commit drop') })
    .map((each) => `create temp table ${each.table} (n int, v text) ${each.end}`),
  table.map(
    (name) => `create temp table ${name} (n serial primary key, v int, w text default 'w')`,
  ),
  table.map((name) => `create temp table if not exists ${name} as select 5 as n, 'five' as v`),
  fc
    .record({ table, rows, n: fc.nat(3) })
    .map(
      (each) =>
        `insert into ${each.table} select g + ${each.n}, g from generate_series(1, ${each.rows}) g`,
    ),
  // More than fits into the buffers of temporary tables.
  fc.constant(`insert into t2 select g, repeat('x', 1900) from generate_series(1, 5000) g`),
  table.map((name) => `update ${name} set n = n + 1 where n < 100`),
  table.map((name) => `delete from ${name} where n % 2 = 0`),
  table.map((name) => `select count(*), sum(n), min(v::text) from ${name}`),
  table.map((name) => `select count(*) from pg_temp.${name}`),
  table.map((name) => `drop table ${name}`),
  table.map((name) => `truncate ${name} restart identity`),
  table.map((name) => `create index on ${name} (n)`),
  table.map((name) => `alter table ${name} alter n type bigint using n * 2`),
  table.map((name) => `analyze ${name}`),
  table.map((name) => `vacuum full ${name}`),
  table.map((name) => `create temp view v_of as select n from ${name} where n > 2`),
  table.map((name) => `prepare p as select count(*), max(n) from ${name}`),
  fc.constantFrom(
    'execute p',
    'deallocate p',
    'select plpg()',
    'select plain()',
    'select changes()',
    'select sum(n) from v_of',
    'drop view v_of',
    'select lastval()',
    `select pg_my_temp_schema() <> 0, to_regclass('t1') = to_regclass('public.t1')`,
    `create function pg_temp.own() returns int language sql as 'select 1 + count(*)::int from t3'`,
    'select pg_temp.own()',
    `set search_path = public, pg_temp`,
    'set search_path = pg_temp, public',
    'reset search_path',
    'discard temp',
    'discard plans',
    'discard all',
    `select relname, relpersistence, relkind from pg_class
      where relnamespace = pg_my_temp_schema() order by relname`,
  ),
)
const RESET_PATH = 'reset search_path'
/** What a session says before another one has its turn, the transactions whole. */
const turn = fc.record({
  session: fc.nat(SESSIONS - 1),
  statements: fc.array(statement, { minLength: 1, maxLength: 5 }),
  block: fc.constantFrom('', '', 'commit', 'rollback'),
  naps: fc.boolean(),
})

type Turn = typeof turn extends fc.Arbitrary<infer Value> ? Value : never

class Backend {
  slot: WasmSlot
  readonly #files: TenantFiles

  constructor(slot: WasmSlot) {
    this.slot = slot
    this.#files = TenantFiles.inMemory({ template: engine.template, clock: systemClock })
    slot.begin(this.#files)
    assert.equal(runSql(slot, SETUP).error, undefined)
  }

  nap(): void {
    this.#files.commit()
    const image = this.slot.nap()
    this.slot.resume(this.#files, image)
  }

  /** What the client hears, in the end as text. */
  say({ statements, block }: { statements: readonly string[]; block: string }): unknown[] {
    const all = block === '' ? statements : ['begin', ...statements, block]
    return all.map((sql) => {
      const { error, result } = runSql(this.slot, sql)
      return [sql, error ? `${error.sqlState} ${error.message}` : result.rows]
    })
  }
}

test('sessions that share a backend are as if each had one', async () => {
  const game = fc.array(turn, { minLength: 8, maxLength: 30 })
  await fc.assert(
    fc.asyncProperty(game, async (turns) => {
      const slots = [await engine.createSlot()]
      while (slots.length <= SESSIONS) slots.push(await engine.createSlot())
      try {
        const [backend, ...alone] = slots.map((slot) => new Backend(slot))
        assert.ok(backend)
        play(turns, backend, alone)
      } finally {
        for (const slot of slots) slot.discard()
      }
    }),
    { numRuns: 12 },
  )
})

function play(turns: readonly Turn[], backend: Backend, alone: readonly Backend[]): void {
  const frames: SessionFrame[] = alone.map((_, number) => ({
    ...EMPTY_FRAME,
    temporary: { ...NO_TEMPORARY, number },
  }))
  const paths = alone.map(() => RESET_PATH)
  let current = 0
  for (const { session, naps, ...said } of turns) {
    frames[current] = backend.slot.session.frame
    backend.slot.session.frame = frames[session] ?? EMPTY_FRAME
    current = session
    // Settings are the pool's business.
    runSql(backend.slot, paths[session] ?? '')
    const own = alone[session]
    assert.deepEqual(backend.say(said), own?.say(said))
    const path = own?.slot.session.settings.get('search_path')
    paths[session] = path === undefined ? RESET_PATH : `set search_path = ${path}`
    if (naps) backend.nap()
  }
}
