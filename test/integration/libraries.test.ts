/**
 * Libraries of extensions have their places in every slot: a tenant that uses some goes from slot
 * to slot as any other, whatever those have loaded, and leaves nothing behind. All with the real
 * engine, whose slots are compared with the base after each swap.
 */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { SeededRandom } from '../../src/base/random.ts'
import { EXTENSIONS } from '../../src/engine/recipe.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { SlotImage } from '../../src/engine/slot-image.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { verifyingEngine } from '../support/image-world.ts'
import { runSql, valueOf } from '../support/messages.ts'

/** What each extension can do, and says so: with its functions, its types, its access methods. */
const USES: Readonly<Record<string, readonly (readonly [sql: string, answer: string])[]>> = {
  amcheck: [[`select bt_index_check('pg_class_oid_index'::regclass, true)::text`, '']],
  bloom: [
    [`select count(*)::text from (select 1 from bloomed where a = 3 and b = 3) x`, '1'],
    [`select amname from pg_am where amname = 'bloom'`, 'bloom'],
  ],
  btree_gin: [['select count(*)::text from ginned where a = 3', '1']],
  btree_gist: [['select (3::int <-> 5::int)::text', '2']],
  citext: [[`select ('Ab'::citext = 'aB'::citext)::text`, 'true']],
  cube: [[`select cube_distance('(0,0)', '(3,4)')::text`, '5']],
  earthdistance: [['select round(earth())::text', '6378168']],
  fuzzystrmatch: [[`select levenshtein('kitten', 'sitting')::text`, '3']],
  hstore: [[`select ('a=>1,b=>2'::hstore -> 'b')`, '2']],
  intarray: [[`select (icount('{1,2,3}'::int[]))::text`, '3']],
  ltree: [[`select ('a.b.c'::ltree ~ 'a.*')::text`, 'true']],
  pg_trgm: [[`select similarity('word', 'two words')::numeric(4,2)::text`, '0.36']],
  pgcrypto: [
    [`select encode(digest('abc', 'sha256'), 'hex') ~ '^ba7816bf8f01cfea'`, 't'],
    [`select pgp_sym_decrypt(pgp_sym_encrypt('secret', 'k', 'compress-algo=1'), 'k')`, 'secret'],
    [`select (crypt('x', gen_salt('bf', 4)) like '$2a$04$%')::text`, 'true'],
  ],
  tablefunc: [['select count(*)::text from normal_rand(7, 0, 1)', '7']],
  unaccent: [[`select unaccent('Hôtel')`, 'Hotel']],
  'uuid-ossp': [[`select uuid_generate_v5(uuid_ns_dns(), 'a.b')::text ~ '-5'`, 't']],
  vector: [
    [`select ('[1,2]'::vector <-> '[4,6]'::vector)::text`, '5'],
    [`select id::text from nearby order by at <-> '[7,7,7]' limit 1`, '7'],
  ],
}
const NAMES: readonly string[] = Object.keys(USES)

const SETUP: Readonly<Record<string, string>> = {
  bloom: `create table bloomed as select i as a, i as b from generate_series(1, 50) i;
    create index on bloomed using bloom (a, b); set enable_seqscan = off`,
  btree_gin: `create table ginned as select i as a from generate_series(1, 50) i;
    create index on ginned using gin (a); set enable_seqscan = off`,
  vector: `create table nearby as
      select i as id, array_fill(i, array[3])::vector(3) as at from generate_series(1, 50) i;
    create index on nearby using hnsw (at vector_l2_ops); set enable_seqscan = off`,
}

/** What no two calls may give alike, in a tenant and its fork. */
const DRAWING: readonly string[] = [
  'uuid_generate_v1()',
  'uuid_generate_v1mc()',
  'uuid_generate_v4()',
  'gen_random_bytes(16)',
  `gen_salt('bf', 4)`,
]

let engine: WasmEngine

before(async () => {
  engine = await verifyingEngine()
})

const newTenant = (): TenantFiles =>
  TenantFiles.inMemory({ template: engine.template, clock: systemClock })

async function pair(): Promise<[WasmSlot, WasmSlot]> {
  return [await engine.createSlot(), await engine.createSlot()]
}

const ok = (slot: WasmSlot, sql: string): void => {
  const { error } = runSql(slot, sql)
  assert.equal(error, undefined, `${sql}: ${error?.message}`)
}

function use(slot: WasmSlot, name: string): void {
  for (const [sql, answer] of USES[name] ?? []) assert.equal(valueOf(slot, sql), answer, sql)
}

function create(slot: WasmSlot, name: string): void {
  ok(slot, `create extension "${name}" cascade`)
  const setup = SETUP[name]
  if (setup !== undefined) ok(slot, setup)
  use(slot, name)
}

for (const name of NAMES) {
  test(`${name} naps, and works on in a slot that knows nothing of it`, async () => {
    const [first, second] = await pair()
    const files = newTenant()
    first.begin(files)
    create(first, name)
    assert.equal(first.canNap, true)
    second.resume(files, first.nap())
    use(second, name)
    assert.equal(first.reusable, true)
    // In a slot that has had its code before, and whose memory is empty again.
    first.resume(files, second.nap())
    use(first, name)
    first.shutDown()
    // And for a new session, in both.
    second.boot(files)
    use(second, name)
    second.shutDown()
    first.boot(files)
    use(first, name)
  })
}

test('all of them at once, in one tenant', async () => {
  const [first, second] = await pair()
  const files = newTenant()
  first.begin(files)
  for (const name of NAMES) create(first, name)
  second.resume(files, first.nap())
  for (const name of NAMES) use(second, name)
  assert.deepEqual(
    NAMES.toSorted(),
    EXTENSIONS.filter((name) => name !== 'pg_stat_statements').toSorted(),
  )
})

test('pg_stat_statements counts once the tenant preloads it; it has texts in a file', async () => {
  const [first, second] = await pair()
  const files = newTenant()
  first.boot(files)
  ok(first, 'create extension pg_stat_statements')
  ok(first, `alter system set shared_preload_libraries = 'pg_stat_statements'`)
  first.unload()
  first.boot(files)
  ok(first, 'select 42')
  const counted = `select calls::text from pg_stat_statements where query = 'select $1'`
  assert.equal(valueOf(first, counted), '1')
  // Where in the file is in memory, and the file is neither in a store nor in a fork.
  assert.equal(first.canNap, false)
  assert.throws(() => first.nap())
  first.shutDown()
  second.boot(files)
  ok(second, 'select 42')
  assert.equal(valueOf(second, counted), '2', 'a shutdown keeps them')
  assert.equal(first.reusable, true)
})

test('tenants with other libraries share slots, in any order', async () => {
  const random = new SeededRandom(36)
  const all = [...(await pair()), await engine.createSlot()]
  const tenants = Array.from({ length: 6 }, (_, index) => ({
    files: newTenant(),
    names: NAMES.filter((_, at) => (at * 7 + index * 5) % 6 < 2),
    image: undefined as SlotImage | undefined,
  }))
  for (let visit = 0; visit < 60; visit++) {
    const tenant = tenants[random.below(tenants.length)]
    const slot = all[random.below(all.length)]
    assert.ok(tenant && slot)
    if (tenant.image) slot.resume(tenant.files, tenant.image)
    else slot.begin(tenant.files)
    for (const name of tenant.names) {
      if (!tenant.image) create(slot, name)
      else if (random.below(2) === 0) use(slot, name)
    }
    tenant.image = slot.nap()
  }
})

test('a fork has the libraries of its tenant, in the middle of a transaction', async () => {
  const [main, other] = await pair()
  const files = newTenant()
  main.begin(files)
  create(main, 'vector')
  create(main, 'uuid-ossp')
  create(main, 'pgcrypto')
  ok(main, 'begin')
  ok(main, `insert into nearby values (99, '[99,99,99]')`)
  const nearest = `select id::text from nearby order by at <-> '[99,99,99]' limit 1`
  assert.equal(valueOf(main, nearest), '99')
  // Over the same files here: neither of the two commits anything.
  other.fork(files, main.copy())
  const drawn = new Set<string | null | undefined>()
  for (let round = 0; round < 50; round++) {
    for (const slot of [main, other]) {
      for (const call of DRAWING) {
        const value = valueOf(slot, `select ${call}::text`)
        assert.ok(!drawn.has(value), `${call} has given ${value} before`)
        drawn.add(value)
      }
    }
  }
  ok(other, 'rollback')
  assert.equal(valueOf(other, nearest), '50')
  assert.equal(valueOf(main, nearest), '99')
})

test('a library that is not ours is not loaded, nor what it does not offer', async () => {
  const slot = await engine.createSlot()
  slot.begin(newTenant())
  const refused = (sql: string): string | undefined => runSql(slot, sql).error?.message
  assert.match(refused(`load '$libdir/absent'`) ?? '', /could not access file/)
  assert.match(refused(`load 'base/1/PG_VERSION'`) ?? '', /could not (?:access|load)/)
  create(slot, 'pgcrypto')
  // Of its cryptography, not of its interface to SQL.
  const foreign = `create function f() returns int language c
    as '$libdir/pgcrypto', 'SSL_new'`
  assert.match(refused(foreign) ?? '', /could not find function "SSL_new"/)
  use(slot, 'pgcrypto')
  assert.equal(slot.canNap, true)
})

test('a fork tells that it has opened a library, which its client would miss later', async () => {
  const [main, other] = await pair()
  const files = newTenant()
  main.begin(files)
  ok(main, 'create extension pg_trgm')
  main.shutDown()
  main.boot(files)
  const watch = other.fork(files, main.copy())
  watch.begin()
  ok(other, 'select 1')
  assert.equal(watch.seen, undefined)
  ok(other, `select similarity('abc', 'abd')`)
  assert.equal(watch.seen, 'a library')
})

test('a base library gives no entries away into the room of others', async () => {
  const [slot, other] = await pair()
  slot.begin(newTenant())
  ok(slot, `load 'earthdistance'`)
  for (const library of ['plpgsql', 'dict_snowball']) {
    for (const name of ['__wasm_call_ctors', '__wasm_apply_data_relocs', 'absent']) {
      const sql = `create function f() returns int language c as '$libdir/${library}', '${name}'`
      assert.match(runSql(slot, sql).error?.message ?? '', /could not find function/)
    }
  }
  ok(slot, `load 'fuzzystrmatch'`)
  assert.equal(slot.reusable, true)
  slot.nap()
  for (const each of [slot, other]) {
    each.begin(newTenant())
    ok(each, 'create extension fuzzystrmatch')
    ok(each, 'alter function dmetaphone(text) security definer')
    assert.equal(valueOf(each, `select dmetaphone('hello')`), 'HL')
  }
})

test('errors leave a library as they leave Postgres', async () => {
  const [first, second] = await pair()
  const files = newTenant()
  first.begin(files)
  create(first, 'pgcrypto')
  create(first, 'unaccent')
  const attempts = `do $$ begin
      for i in 1..20 loop
        begin
          perform decrypt('x', 'k', 'bogus');
        exception when others then
          perform digest('x', 'sha1');
        end;
      end loop;
    end $$`
  ok(first, attempts)
  const failing = [
    [`select crypt('x', '$2a$bogus')`, /invalid salt/],
    [`select decrypt('x', 'k', 'bogus')`, /No such cipher algorithm/],
    // From inside of its own PG_TRY.
    [
      'create text search dictionary d (template = unaccent, rules = absent)',
      /could not open unaccent file/,
    ],
  ] as const
  for (const [sql, message] of failing)
    assert.match(runSql(first, sql).error?.message ?? '', message)
  second.resume(files, first.nap())
  for (const [sql, message] of failing)
    assert.match(runSql(second, sql).error?.message ?? '', message)
  use(second, 'pgcrypto')
  use(second, 'unaccent')
})

test('one file has one place, by whichever path it is asked for', async () => {
  const slot = await engine.createSlot()
  slot.begin(newTenant())
  ok(slot, `load '$libdir/../postgresql/cube'`)
  ok(slot, `load '/pglite/lib/postgresql//cube.so'`)
  create(slot, 'cube')
  assert.equal(slot.canNap, true)
  slot.nap()
})
