/**
 * Copies of a backend that has paused in the middle of a statement: they show what is committed,
 * are as good as any backend, and the statement goes on as if there had been none.
 */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { concatBytes, keptBytes } from '../../src/base/bytes.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { queryMessage } from '../../src/front/wire/result.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { MAIN } from '../../src/store/keys.ts'
import { Store } from '../../src/store/store.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { verifyingEngine } from '../support/image-world.ts'
import { runSql, say, valueOf } from '../support/messages.ts'
import { storeOptions } from '../support/store-options.ts'

let engine: WasmEngine
before(async () => {
  engine = await verifyingEngine()
})

/** Pauses of a statement between two copies: there may be many thousand. */
const EVERY = 7
const COPIES_MAX = 12
const PAUSES_MAX = 200
/** Shows whatever of the tables might be wrong. */
const SUMMARY = `select count(*) || ' ' || sum(n) || ' ' || (select count(*) from log)
  || md5(string_agg(s, ',' order by n)) from t`

const SETUP = `
  create table t as select n, repeat(n::text, 9) as s from generate_series(1, 4000) n;
  create table log (n int);
  create function noted() returns trigger language plpgsql as $$
    begin insert into log values (new.n); return new; end $$;
  create trigger noted after insert on t for each row execute function noted();
  create function nested(n int) returns int language plpgsql as $$
    declare sum int := 0;
    begin
      for k in 1..n loop
        begin
          insert into log values (k);
          begin sum := sum + 100 / (k % 3);
          exception when division_by_zero then sum := sum - 1; end;
          perform count(*) from t where t.n = k;
        exception when others then raise; end;
      end loop;
      return sum;
    end $$;
  create procedure steps(n int) language plpgsql as $$
    begin for k in 1..n loop insert into log values (k); commit; end loop; end $$;
  create function deep(n int) returns int language sql as
    'select case when $1 = 0 then 0 else deep($1 - 1) + 1 end'`

const STATEMENTS = [
  'select sum(length(s)) from t',
  `insert into t select n, 'x' from generate_series(5000, 5100) n`,
  'update t set s = reverse(s) where n % 2 = 0',
  'create index on t (s)',
  'vacuum analyze t',
  'select nested(60)',
  'call steps(20)',
  'select deep(50)',
  `do $$ begin for k in 1..50 loop perform count(*) from t where n = k; end loop; end $$`,
  `insert into t select n, 'y' from generate_series(6000, 6050) n; select count(*) from t;
   delete from t where n > 5090`,
  'begin; savepoint a; update t set n = n; savepoint b; delete from t where n < 100',
  'declare c cursor for select s from t order by s; fetch 5 from c; select count(*) from t',
  'release savepoint b; rollback to a; insert into t select n from generate_series(7000, 7100) n',
  'commit',
  'create table u as select * from t; create index on u (n); drop table u',
  'select md5(string_agg(s, n::text order by s desc, n)) from t',
  'copy (select * from t where n < 500) to stdout',
  'select 1 / (n - 2500) from t',
]

interface World {
  readonly slot: WasmSlot
  /** Statement by statement the same, in one go. */
  readonly plain: WasmSlot
  readonly files: TenantFiles
  /** What a copy is to show; undefined: what runs commits midway. */
  committed: string | undefined
  /** Of the statement that runs. */
  pauses: number
  copies: number
  failure: unknown
}

/** Uses a copy of what has paused as any other backend. */
function look({ slot, files, committed }: World, store: Store, other: WasmSlot): void {
  const { template } = engine
  files.commit()
  const past = store.view(MAIN, store.head())
  using forked = TenantFiles.open(past, { template, clock: systemClock })
  other.fork(forked, slot.copy())
  assert.equal(other.transactionStatus, 'idle')
  runSql(other, 'rollback')
  if (committed !== undefined) assert.equal(valueOf(other, SUMMARY), committed)
  assert.equal(valueOf(other, 'select count(*) from pg_cursors'), '0')
  assert.equal(valueOf(other, 'select sum(n) from generate_series(1, 100) n'), '5050')
  runSql(other, 'begin; create table own (n int); insert into own values (1); rollback')
  other.unload()
}

/** Lets the statements of a slot pause, and looks at copies of it in some of the pauses. */
function lookOftenAt(world: World, store: Store, other: WasmSlot): () => void {
  const { slot } = world
  const { memory, interruptPendingAt } = slot.interruptFlags
  const interrupt = (): void => {
    const isEnough = world.copies >= COPIES_MAX || world.pauses >= PAUSES_MAX
    if (!isEnough) new Int32Array(memory.buffer)[interruptPendingAt >> 2] = 1
  }
  slot.pauseHost = {
    wantsPause: () => true,
    pause: async () => {
      await turn()
      if (world.pauses++ % EVERY !== 0 || world.failure || !slot.canCopy) return
      world.copies++
      try {
        look(world, store, other)
      } catch (error) {
        // The statement would go on as if nothing had happened.
        world.failure = error
      }
    },
    leave: () => {},
    goOn: interrupt,
    end: (answer) => answer,
    awayMs: 0,
  }
  return interrupt
}

test('a copy shows what is committed, wherever the statement is', async () => {
  const { template, fingerprint } = engine
  const [slot, other, plain] = await Promise.all([1, 2, 3].map(() => engine.createSlot()))
  assert.ok(slot && other && plain)
  using medium = NodeSqliteMedium.inMemory()
  const store = Store.open(medium, storeOptions(template, { clock: systemClock, fingerprint }))
  const files = TenantFiles.open(store.view(), { template, clock: systemClock })
  slot.begin(files)
  plain.begin(TenantFiles.inMemory({ template, clock: systemClock }))
  for (const each of [slot, plain]) runSql(each, SETUP)
  const counts = { committed: undefined, pauses: 0, copies: 0, failure: undefined }
  const world: World = { slot, plain, files, ...counts }
  const interrupt = lookOftenAt(world, store, other)
  const sum = [say.parse('', 'select sum(length(s)) from t'), say.bind('', ''), say.execute('')]
  const batches = [...STATEMENTS.map(queryMessage), concatBytes([...sum, say.sync()])]
  for (const [index, messages] of batches.entries()) {
    const sql = STATEMENTS[index] ?? 'extended'
    if (slot.transactionStatus === 'idle') world.committed = String(valueOf(slot, SUMMARY))
    if (sql.startsWith('call')) world.committed = undefined
    world.pauses = world.copies = 0
    interrupt()
    const answer: Uint8Array = new Uint8Array(await keptBytes(slot.runPausing(messages, 1)))
    if (world.failure) throw world.failure
    assert.deepEqual(answer, plain.run(messages), sql)
    assert.equal(slot.transactionStatus, plain.transactionStatus)
    assert.ok(world.copies >= 5 || sql === 'commit', `${sql}: ${world.copies} copies`)
    files.commit()
  }
})
