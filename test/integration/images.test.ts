/**
 * What of a run of Postgres is not in linear memory, one test for each: it goes along in the image
 * and is there in another slot. All with the real engine, whose slots are compared with the base
 * after each swap.
 */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { concatBytes } from '../../src/base/bytes.ts'
import { readAnswer } from '../../src/front/wire/result.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { loadFactory } from '../../src/host/node/engine/stock.ts'
import { loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { assetsIn, SparseFile } from '../../src/host/node/engine/sparse-file.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { parseVerifiedAssets } from '../../src/engine/engine-assets.ts'
import { WasmEngine as Engine } from '../../src/engine/wasm-engine.ts'
import { Store } from '../../src/store/store.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { verifyingEngine } from '../support/image-world.ts'
import { runSql, say, valueOf } from '../support/messages.ts'
import { storeOptions } from '../support/store-options.ts'

let engine: WasmEngine

before(async () => {
  engine = await verifyingEngine()
})

const newTenant = (of: WasmEngine = engine): TenantFiles =>
  TenantFiles.inMemory({ template: of.template, clock: systemClock })

const slots = (count: number, of: WasmEngine = engine): Promise<WasmSlot[]> =>
  Promise.all(Array.from({ length: count }, () => of.createSlot()))

/** From one slot into another. */
function move(files: TenantFiles, from: WasmSlot, to: WasmSlot): WasmSlot {
  to.resume(files, from.nap())
  return to
}

/** Runs `visit` in one slot after the other, the tenant moving along. */
function tour(files: TenantFiles, all: readonly WasmSlot[], visit: (slot: WasmSlot) => void): void {
  for (const [index, slot] of all.entries()) {
    const before = all[index - 1]
    if (before) move(files, before, slot)
    visit(slot)
  }
}

const ok = (slot: WasmSlot, sql: string): void => {
  const { error } = runSql(slot, sql)
  assert.equal(error, undefined, `${sql}: ${error?.message}`)
}

/** Files over a store, as the pool has them: what is committed is not only in memory. */
function storedTenant(): TenantFiles {
  const store = Store.open(NodeSqliteMedium.inMemory(), storeOptions(engine.template))
  return TenantFiles.open(store.view(), { template: store.template, clock: systemClock })
}

async function two(
  begin: 'begin' | 'boot' = 'begin',
  files: TenantFiles = newTenant(),
): Promise<[TenantFiles, WasmSlot, WasmSlot]> {
  const [a, b] = await slots(2)
  assert.ok(a && b)
  a[begin](files)
  return [files, a, b]
}

for (const begin of ['begin', 'boot'] as const) {
  test(`library handles: plpgsql goes on in any slot after ${begin}`, async () => {
    const files = newTenant()
    const three = await slots(3)
    three[0]?.[begin](files)
    let calls = 0
    tour(files, [...three, ...three.slice(0, 1), ...three.slice(1)], (slot) => {
      // Made before the first move in half of the cases, and called again and again.
      if (calls === 0)
        ok(
          slot,
          `create function f(n int) returns int as $$ begin return n + 1; end $$
          language plpgsql`,
        )
      assert.equal(valueOf(slot, `select f(${calls})`), String(++calls))
      ok(slot, `do $$ begin perform to_tsvector('english', 'running'); end $$`)
      assert.equal(slot.canNap, true)
    })
  })
}

test('descriptors: a file that is read half goes on at its place', async () => {
  const [files, a, b] = await two('begin', storedTenant())
  ok(
    a,
    'create table big as select n, repeat(md5(n::text), 8) as t from generate_series(1, 4000) n',
  )
  ok(
    a,
    `set work_mem = '64kB'; begin;
    declare c cursor with hold for select n from big order by t; fetch 100 from c; commit`,
  )
  const sorted = valueOf(
    a,
    'select string_agg(n::text, $$ $$) from (select n from big order by t) x',
  )
  const fetched: (string | null | undefined)[] = []
  let slot = a
  ok(a, 'move absolute 0 in c')
  for (let round = 0; round < 40; round++) {
    const { result } = runSql(slot, 'fetch 100 from c')
    fetched.push(...result.rows.map(([n]) => n))
    files.commit()
    assert.equal(files.irreplaceable, true, 'the spilled rows are nowhere else')
    slot = move(files, slot, slot === a ? b : a)
  }
  assert.equal(fetched.join(' '), sorted)
  ok(slot, 'close c')
  files.commit()
  assert.equal(files.irreplaceable, false, 'the spilled rows are gone')
})

test('descriptors: files that were unlinked while open are held, and go in the end', async () => {
  const [files, a, b] = await two('begin', storedTenant())
  ok(a, 'create table t(n int primary key); insert into t select generate_series(1, 1000)')
  ok(a, 'create table gone as select * from t')
  ok(a, 'begin; truncate t; drop table gone; insert into t values (7)')
  move(files, a, b)
  assert.equal(b.transactionStatus, 'transaction')
  assert.equal(valueOf(b, 'select count(*) from t'), '1')
  ok(b, 'rollback')
  assert.equal(valueOf(b, 'select count(*) from t'), '1000')
  assert.equal(valueOf(b, 'select count(*) from gone'), '1000')
  ok(b, 'begin; truncate t; drop table gone; insert into t values (7)')
  move(files, b, a)
  ok(a, 'commit')
  move(files, a, b)
  assert.equal(valueOf(b, 'select count(*) from t'), '1')
  assert.match(runSql(b, 'table gone').error?.message ?? '', /does not exist/)
  ok(b, 'checkpoint')
  ok(b, 'vacuum full t')
  move(files, b, a)
  assert.equal(valueOf(a, 'select n from t'), '7')
  files.commit()
  assert.equal(files.irreplaceable, false, 'nobody holds what has no name')
})

test('descriptors and the stack pointer are the same after a round trip', async () => {
  const [files, a, b] = await two('boot')
  ok(a, 'create table t(n int primary key)')
  const image = a.nap()
  assert.ok(image.descriptors.length > 20)
  const odd = image.descriptors.map((each, index) => ({ ...each, position: index * 8192 }))
  // Idle, the stack pointer has one value, so another one is needed to see that it is set.
  const stackPointer = image.stackPointer - 4096
  b.resume(files, { ...image, descriptors: odd, stackPointer })
  const again = b.nap()
  assert.deepEqual(again.descriptors, odd)
  assert.equal(again.stackPointer, stackPointer)
})

test('hundreds of open files go along', async () => {
  const [files, a, b] = await two()
  ok(
    a,
    `do $$ begin for i in 1..300 loop
    execute format('create table t%s(n int primary key)', i);
    execute format('insert into t%s values (%s)', i, i); end loop; end $$`,
  )
  const sum = `do $$ declare s int := 0; k int; begin for i in 1..300 loop
    execute format('select n from t%s', i) into k; s := s + k; end loop;
    perform set_config('my.sum', s::text, false); end $$`
  tour(files, [a, b, a, b], (slot) => {
    ok(slot, sum)
    assert.equal(valueOf(slot, 'show my.sum'), '45150')
  })
})

test('the working folder: relative paths work after a move', async () => {
  const [files, a, b] = await two('boot')
  move(files, a, b)
  assert.equal(valueOf(b, `select pg_read_file('PG_VERSION')`)?.trim(), '18')
  ok(b, 'create table t(n int); checkpoint')
})

test('a slot in which Postgres never started takes an image: its self-pipe is made', async () => {
  const [files, a, b] = await two('boot')
  ok(a, 'listen news; create table t(n int)')
  move(files, a, b)
  ok(b, `notify news, 'x'`)
  const { error } = runSql(b, `select pg_sleep(0.01)`)
  assert.equal(error, undefined)
})

test('the self-pipe keeps its numbers: what a tenant opens later is no part of it', async () => {
  const [files, a, b] = await two('boot')
  let count = 0
  // Each slot more than once: only the first time is the pipe made.
  tour(files, [a, b, a, b, a, b], (slot) => {
    count++
    ok(slot, `create table t${count}(n int primary key); insert into t${count} values (${count})`)
    ok(slot, 'select pg_sleep(0.001)')
    for (let n = 1; n <= count; n++) {
      assert.equal(valueOf(slot, `select n from t${n} where n = ${n}`), String(n))
    }
  })
})

test('no timer is armed: nothing of a tenant comes back later', async () => {
  const original = globalThis.setTimeout
  let armed = 0
  globalThis.setTimeout = ((...args: Parameters<typeof original>) => {
    armed++
    return original(...args)
  }) as typeof setTimeout
  try {
    const [files, a, b] = await two('boot')
    armed = 0
    ok(a, `set statement_timeout = '5s'; set idle_in_transaction_session_timeout = '5s'`)
    ok(a, 'begin; create table t(n int)')
    move(files, a, b)
    ok(b, 'commit; select 1')
    b.nap()
    assert.equal(armed, 0)
  } finally {
    globalThis.setTimeout = original
  }
})

test('a grown heap: its image goes into a fresh slot, the grown slot is given up', async () => {
  const [usual] = await slots(1)
  assert.ok(usual)
  const small = await verifyingEngine({ slotRetireBytes: usual.memoryBytes })
  const [a, b, c, d] = await slots(4, small)
  assert.ok(a && b && c && d)
  const files = newTenant(small)
  a.begin(files)
  const fresh = a.memoryBytes
  ok(a, 'create table t as select n, md5(n::text) as m from generate_series(1, 50000) n')
  ok(a, `begin; set work_mem = '256MB'; declare c scroll cursor for select n from t order by m, n`)
  const expected = valueOf(a, 'fetch last from c')
  assert.ok(a.memoryBytes > fresh, 'the sort is in memory')
  const image = a.nap()
  assert.equal(a.reusable, false)
  // Also where the last page that differs is far from it: malloc takes what is below for its own.
  const roomy = { ...image, heapEnd: image.heapEnd + 2 ** 25 }
  d.resume(files, roomy)
  assert.ok(d.memoryBytes >= roomy.heapEnd)
  d.unload()
  b.resume(files, image)
  assert.ok(b.memoryBytes >= image.heapEnd && b.memoryBytes > fresh)
  assert.equal(b.reusable, false)
  ok(b, 'move absolute 0 in c')
  assert.equal(valueOf(b, 'fetch last from c'), expected)
  ok(b, 'commit')
  // Once what had grown is free again, the image is small; the slot is not.
  ok(b, 'discard all')
  c.resume(files, b.nap())
  assert.equal(valueOf(c, 'select count(*) from t'), '50000')
})

test('ALTER SYSTEM counts from the next start, so there is no nap before it', async () => {
  const [files, a, b] = await two('boot')
  ok(a, `alter system set work_mem = '5MB'`)
  assert.equal(a.canNap, false)
  a.shutDown()
  b.boot(files)
  assert.equal(valueOf(b, 'show work_mem'), '5MB')
  assert.equal(b.canNap, true)
})

for (const kind of ['wasm', 'portable'] as const) {
  test(`random numbers are nobody else's, with the ${kind} delta`, async () => {
    const of = kind === 'wasm' ? engine : await portableEngine()
    const [a, b] = await slots(2, of)
    assert.ok(a && b)
    const draw = (slot: WasmSlot): string =>
      String(valueOf(slot, 'select random() || $$ $$ || random() || $$ $$ || random_normal()'))
    const drawn = new Set<string | null | undefined>()
    const fresh = (value: string | null | undefined): void => {
      assert.ok(!drawn.has(value), 'drawn twice')
      drawn.add(value)
    }
    // What Postgres draws for itself has a state of its own.
    const shuffle = `select array_shuffle(array(select generate_series(1, 99)))::text`
    // Tenants that begin from the same base, in the same slot and in another one.
    for (const slot of [a, b, a]) {
      slot.begin(newTenant(of))
      fresh(draw(slot))
      fresh(valueOf(slot, 'select gen_random_uuid()'))
      fresh(valueOf(slot, shuffle))
      ok(slot, `alter role postgres password 'the same'`)
      fresh(valueOf(slot, `select rolpassword from pg_authid where rolname = 'postgres'`))
      slot.unload()
    }
    const files = newTenant(of)
    a.begin(files)
    ok(a, 'select setseed(0.5)')
    const expected = draw(a)
    ok(a, 'select setseed(0.5)')
    move(files, a, b)
    assert.equal(draw(b), expected, 'the session goes on with its sequence')
    const image = b.nap()
    for (const slot of [a, b, a, b]) {
      slot.resume(files, { ...image, copied: true })
      fresh(draw(slot))
      fresh(valueOf(slot, 'select gen_random_uuid()'))
      fresh(valueOf(slot, shuffle))
      slot.unload()
    }
  })
}

test('an open transaction goes from slot to slot with all that is in it', async () => {
  const files = newTenant()
  const three = await slots(3)
  three[0]?.begin(files)
  const steps: readonly ((slot: WasmSlot) => void)[] = [
    (slot) =>
      ok(
        slot,
        `create table parent(id int primary key);
        create table child(id int references parent deferrable initially deferred);
        insert into parent select generate_series(1, 100); begin;
        declare c cursor for select id from parent order by id; create temp table mine(n int)`,
      ),
    (slot) => assert.equal(runSql(slot, 'fetch 40 from c').result.rows.at(-1)?.[0], '40'),
    (slot) => ok(slot, 'insert into child values (500); insert into mine values (1); savepoint s'),
    (slot) => assert.ok(runSql(slot, 'insert into parent values (1)').error),
    (slot) => assert.equal(slot.transactionStatus, 'failed'),
    (slot) => ok(slot, 'rollback to s'),
    (slot) => assert.equal(runSql(slot, 'fetch 40 from c').result.rows.at(-1)?.[0], '80'),
    (slot) =>
      ok(
        slot,
        'select pg_advisory_xact_lock(7); set local work_mem = $$7MB$$'.replaceAll('$$', "'"),
      ),
    (slot) => assert.equal(valueOf(slot, 'show work_mem'), '7MB'),
    (slot) => ok(slot, 'insert into parent values (500); notify news'),
    (slot) => ok(slot, 'commit'),
    (slot) => assert.equal(valueOf(slot, 'select count(*) from child'), '1'),
    (slot) => assert.equal(valueOf(slot, 'select n from mine'), '1'),
  ]
  const turns = [...steps, ...steps].flatMap(() => three).slice(0, steps.length)
  let step = 0
  tour(files, turns, (slot) => steps[step++]?.(slot))
  assert.equal(step, steps.length)
})

test('a pipeline without Sync goes on in another slot', async () => {
  const [files, a, b] = await two()
  ok(a, 'create table t(n int)')
  const part = (n: number): Uint8Array =>
    concatBytes([say.parse('', `insert into t values (${n})`), say.bind('', ''), say.execute('')])
  a.run(concatBytes([part(1), say.flush()]))
  move(files, a, b)
  b.run(concatBytes([part(2), say.flush()]))
  move(files, b, a)
  assert.equal(readAnswer(a.run(concatBytes([part(3), say.sync()]))).error, undefined)
  assert.equal(valueOf(a, 'select count(*) from t'), '3')
  // After an error all is skipped until Sync, whichever slot it comes to.
  a.run(concatBytes([part(4), say.parse('', 'selec'), say.flush()]))
  move(files, a, b)
  b.run(concatBytes([part(5), say.flush()]))
  move(files, b, a)
  a.run(say.sync())
  assert.equal(valueOf(a, 'select count(*) from t'), '3')
})

async function portableEngine(): Promise<WasmEngine> {
  const { module, base, assets, bundle } = await loadEngineParts()
  return new Engine({
    assets: parseVerifiedAssets(assetsIn(assets)),
    compileLibrary: (bytes) => new WebAssembly.Module(bytes),
    factory: loadFactory(),
    module,
    base,
    bundle: new SparseFile(bundle, new ArrayBuffer(bundle.sizeBytes)),
    clock: systemClock,
    random: systemRandom,
    verifySwaps: true,
  })
}
