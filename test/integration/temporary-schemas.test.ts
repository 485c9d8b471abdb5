/** Temporary tables of several sessions in one backend, by its memory alone. */
import assert from 'node:assert/strict'
import { before, beforeEach, test } from 'node:test'
import { EMPTY_FRAME, type SessionFrame } from '../../src/engine/session-memory.ts'
import { NO_TEMPORARY, TEMPORARY_SCHEMAS_MAX } from '../../src/engine/temporary-schemas.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { createEngine, loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { runSql, valueOf } from '../support/messages.ts'

let engine: WasmEngine
let slot: WasmSlot
before(async () => {
  engine = await createEngine(await loadEngineParts(), {
    clock: systemClock,
    random: systemRandom,
    verifySwaps: true,
  })
})
const newFiles = (): TenantFiles =>
  TenantFiles.inMemory({ template: engine.template, clock: systemClock })

/** Sessions that are aside, by name. */
let aside: Map<string, SessionFrame>
let current: string
beforeEach(async () => {
  slot = await engine.createSlot()
  aside = new Map()
  current = 'a'
})

/** Brings the session of that name, which begins with a number of its own. */
function as(name: string, sql: string): void {
  enter(name)
  const { error } = runSql(slot, sql)
  assert.equal(error, undefined, `${sql}: ${error?.message}`)
}

function enter(name: string): void {
  if (name === current) return
  aside.set(current, slot.session.frame)
  const temporary = { ...NO_TEMPORARY, number: name.charCodeAt(0) - 97 }
  slot.session.frame = aside.get(name) ?? { ...EMPTY_FRAME, temporary }
  current = name
}

function ask(name: string, sql: string): unknown {
  enter(name)
  return valueOf(slot, sql)
}

/** SQLSTATE of the refusal of a statement. */
function errorOf(name: string, sql: string): string | undefined {
  enter(name)
  return runSql(slot, sql).error?.sqlState
}

for (const how of ['begun', 'booted'] as const) {
  test(`each session has its own under the same name, in a backend that was ${how}`, () => {
    if (how === 'begun') slot.begin(newFiles())
    else slot.boot(newFiles())
    as('a', 'create table t as select 0 as n')
    as('a', 'create temp table t as select 1 as n; create temp table mine(n int primary key)')
    assert.equal(ask('b', 'select n from t'), '0')
    as('b', 'create temp table t as select 2 as n')
    as('c', 'create temp table t as select 3 as n')
    for (const [name, n] of Object.entries({ a: '1', b: '2', c: '3', d: '0' })) {
      assert.equal(ask(name, 'select n from t'), n)
      assert.equal(ask(name, 'select n from public.t'), '0')
    }
    assert.equal(errorOf('b', 'table mine'), '42P01')
    as('a', 'insert into mine values (1), (2); create index on mine (n)')
    as('b', 'drop table t')
    assert.equal(ask('b', 'select n from t'), '0')
    assert.equal(ask('a', 'select sum(n) from mine'), '3')
    assert.equal(errorOf('a', 'insert into mine values (2)'), '23505')
    as('c', 'discard all')
    assert.equal(ask('c', 'select n from t'), '0')
    assert.equal(ask('a', 'select n from t'), '1')
    assert.equal(
      ask('a', 'select nspname from pg_namespace where oid = pg_my_temp_schema()'),
      'pg_temp_0',
    )
    assert.equal(
      ask('b', 'select nspname from pg_namespace where oid = pg_my_temp_schema()'),
      'pg_temp_a',
    )
    assert.equal(ask('d', 'select pg_my_temp_schema()'), '0')
  })
}

test('somebody else’s can be seen in the catalog, and neither read nor written', () => {
  slot.begin(newFiles())
  as('a', 'create temp table mine as select 7 as n')
  for (const name of ['b', 'c']) {
    for (const sql of [
      'table pg_temp_0.mine',
      'delete from pg_temp_0.mine',
      'truncate pg_temp_0.mine',
    ]) {
      assert.equal(errorOf(name, sql), '0A000', sql)
    }
    as(name, 'create temp table mine as select 8 as n')
    assert.equal(ask(name, 'select n from mine'), '8')
    assert.equal(
      ask(
        name,
        `select count(*) from pg_class
          where relname = 'mine' and pg_is_other_temp_schema(relnamespace)`,
      ),
      name === 'b' ? '1' : '2',
    )
  }
  assert.equal(ask('a', 'select n from mine'), '7')
  assert.equal(errorOf('a', 'table pg_temp_a.mine'), '0A000')
  as('b', 'vacuum')
  as('b', 'analyze')
  assert.equal(ask('a', 'select n from mine'), '7')
})

test('a function that has been planned for one finds that of the other', () => {
  slot.begin(newFiles())
  as('a', 'create temp table t as select 1 as n; prepare p as select n from t')
  as(
    'a',
    `create function plpg() returns int language plpgsql as 'begin return (select n from t); end'`,
  )
  as('a', `create function sql() returns int language sql as 'select n from t'`)
  assert.equal(ask('a', 'select plpg() + sql()'), '2')
  assert.equal(errorOf('b', 'select plpg()'), '42P01')
  as('b', 'create temp table t as select 20 as n; prepare p as select n from t')
  for (let turn = 0; turn < 3; turn++) {
    assert.equal(ask('b', 'select plpg() + sql()'), '40')
    assert.equal(ask('b', 'execute p'), '20')
    assert.equal(ask('a', 'select plpg() + sql()'), '2')
    assert.equal(ask('a', 'execute p'), '1')
    assert.equal(errorOf('c', 'select plpg()'), '42P01')
  }
  as('b', 'alter table t alter n type bigint using n * 2')
  assert.equal(ask('a', 'select plpg()'), '1')
  assert.equal(ask('b', 'select plpg()'), '40')
})

test('what COMMIT empties and drops is only the own', () => {
  slot.begin(newFiles())
  as('a', 'create temp table kept(n int); create temp table rows(n int) on commit delete rows')
  as('b', 'create temp table rows(n int) on commit delete rows')
  as(
    'a',
    `begin; insert into rows values (1); create temp table gone(n int) on commit drop;
      insert into kept select 1`,
  )
  as('a', 'commit')
  assert.equal(ask('a', 'select count(*) from rows'), '0')
  assert.equal(errorOf('a', 'table gone'), '42P01')
  as('b', 'create temp table other(n int); begin; insert into other values (1); commit')
  assert.equal(ask('b', 'select count(*) from other'), '1')
  as('c', 'create temp table other(n int) on commit drop')
  assert.equal(errorOf('c', 'table other'), '42P01')
  as('c', 'begin; create temp table other(n int) on commit drop; rollback')
  assert.equal(ask('a', 'select count(*) from kept'), '1')
  const lists = ['a', 'b', 'd'].map((name) => {
    enter(name)
    return slot.session.frame.temporary.onCommits
  })
  assert.equal(new Set(lists).size, 3)
  assert.equal(lists[2], 0, 'one that has none')
})

test('long values have schemas by the same letters', () => {
  slot.begin(newFiles())
  for (const name of ['a', 'b', 'c']) {
    as(
      name,
      `create temp table t as select string_agg(md5(g::text), '') as long
      from generate_series(1, 5000) g`,
    )
  }
  const schemas = `select string_agg(n.nspname, ' ') from pg_class t
    join pg_class l on l.oid = t.reltoastrelid
    join pg_namespace n on n.oid in (t.relnamespace, l.relnamespace) where t.oid = 't'::regclass`
  for (const [name, letter] of Object.entries({ a: '0', b: 'a', c: 'b' })) {
    assert.equal(ask(name, 'select length(long) from t'), '160000')
    assert.deepEqual(String(ask(name, schemas)).split(' ').toSorted(), [
      `pg_temp_${letter}`,
      `pg_toast_temp_${letter}`,
    ])
  }
})

test('schemas beyond number: the end of many is noted once', () => {
  slot.begin(newFiles())
  const frames: SessionFrame[] = []
  for (let number = 0; number < 60; number++) {
    slot.session.frame = { ...EMPTY_FRAME, temporary: { ...NO_TEMPORARY, number } }
    runSql(slot, `create temp table t as select ${number} as n`)
    frames.push(slot.session.frame)
  }
  for (const [number, frame] of frames.entries()) {
    slot.session.frame = frame
    assert.deepEqual(slot.session.frame, frame)
    assert.equal(valueOf(slot, 'select n from t'), String(number))
  }
  const numbers = Array.from({ length: TEMPORARY_SCHEMAS_MAX }, (_, number) => number)
  const names = numbers.map((number) => {
    slot.session.frame = { ...EMPTY_FRAME, temporary: { ...NO_TEMPORARY, number } }
    return slot.session.frame.temporary.number
  })
  assert.deepEqual(names, numbers)
  slot.session.frame = frames[40] ?? EMPTY_FRAME
  slot.shutDown()
})

test('what a function was compiled to has the types of who calls it', () => {
  slot.begin(newFiles())
  as(
    'a',
    `create temp table t as select 1 as n; create domain pg_temp.few as int check (value < 9)`,
  )
  as(
    'a',
    `create function rows() returns text language plpgsql as
      'declare r t%rowtype; all_of t[]; begin select * into r from t;
        select array_agg(t) into all_of from t; return r::text || all_of::text; end';
    create function few() returns int language plpgsql as
      'declare n pg_temp.few := 8; begin return n; end'`,
  )
  assert.equal(ask('a', 'select rows()'), '(1){(1)}')
  assert.equal(ask('a', 'select few()'), '8')
  as('b', `create temp table t as select 'x' as v, 2 as n`)
  assert.equal(errorOf('b', 'select few()'), '42704', 'it has no such type')
  as('b', 'create domain pg_temp.few as int check (value < 5)')
  for (let turn = 0; turn < 2; turn++) {
    assert.equal(ask('b', 'select rows()'), '(x,2){"(x,2)"}')
    assert.equal(errorOf('b', 'select few()'), '23514')
    assert.equal(ask('a', 'select rows()'), '(1){(1)}')
    assert.equal(ask('a', 'select few()'), '8')
  }
  as('a', 'discard all')
  assert.equal(ask('b', 'select rows()'), '(x,2){"(x,2)"}', 'its types are gone')
  assert.equal(errorOf('c', 'select few()'), '3F000')
})
