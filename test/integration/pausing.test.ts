/**
 * A statement that pauses, and what else its thread does meanwhile. With the real engine; here the
 * flag is raised by the thread itself, before the statement and whenever it goes on.
 */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { keptBytes } from '../../src/base/bytes.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { queryMessage } from '../../src/front/wire/result.ts'
import { readAnswer } from '../../src/front/wire/result.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { verifyingEngine } from '../support/image-world.ts'

let engine: WasmEngine

before(async () => {
  engine = await verifyingEngine()
})

interface Pauses {
  readonly slot: WasmSlot
  count: number
  /** What happens in each. */
  meanwhile: () => void
  /** Raises the flag. */
  interrupt(): void
}

/** A slot with a new tenant, whose statements pause wherever they can. */
async function pausingSlot(): Promise<Pauses> {
  const slot = await engine.createSlot()
  slot.begin(TenantFiles.inMemory({ template: engine.template, clock: systemClock }))
  const { memory, interruptPendingAt } = slot.interruptFlags
  const pauses: Pauses = {
    slot,
    count: 0,
    meanwhile: () => {},
    interrupt: () => void (new Int32Array(memory.buffer)[interruptPendingAt >> 2] = 1),
  }
  slot.pauseHost = {
    wantsPause: () => true,
    pause: async () => {
      pauses.count++
      await turn()
      pauses.meanwhile()
    },
    leave: () => {},
    goOn: () => pauses.interrupt(),
    end: (answer) => answer,
    awayMs: 0,
  }
  return pauses
}

async function run(pauses: Pauses, sql: string): Promise<Uint8Array> {
  pauses.interrupt()
  return new Uint8Array(await keptBytes(pauses.slot.runPausing(queryMessage(sql), 1)))
}

test('a statement pauses, others run in their slots, and it goes on', async () => {
  const long = await pausingSlot()
  const other = await pausingSlot()
  const seen: string[] = []
  long.meanwhile = () => {
    if (seen.length === 5) return
    const answer = other.slot.run(queryMessage(`select ${seen.length} * 7`), 2)
    seen.push(String(readAnswer(answer).result.rows[0]?.[0]))
  }
  const answer = await run(long, 'select sum(i) from generate_series(1, 20000) i')
  assert.equal(readAnswer(answer).result.rows[0]?.[0], '200010000')
  assert.deepEqual(seen, ['0', '7', '14', '21', '28'])
  assert.ok(long.count > 5, `${long.count} pauses`)
})

test('whatever takes its time pauses, and comes to the same', async () => {
  const pauses = await pausingSlot()
  const { slot } = pauses
  const plain = await engine.createSlot()
  plain.begin(TenantFiles.inMemory({ template: engine.template, clock: systemClock }))
  const statements = [
    'create table t as select i, repeat(i::text, 9) as s from generate_series(1, 3000) i',
    'create index on t (s)',
    'vacuum analyze t',
    `do $$ begin for n in 1..300 loop perform count(*) from t where i = n; end loop; end $$`,
    `create function f(n int) returns int language plpgsql as $$
       declare sum int := 0;
       begin
         for k in 1..n loop
           begin sum := sum + 100 / (k % 3);
           exception when division_by_zero then sum := sum - 1; end;
         end loop;
         return sum;
       end $$`,
    'select f(60)',
    'select i / (i - 2500) from t',
    'select md5(string_agg(s, i::text order by s desc)) from t',
    'update t set s = reverse(s) where i % 3 = 0',
    'begin',
    'declare c cursor for select s from t order by s',
    'fetch 2 from c',
    'delete from t',
    'rollback',
    `select count(*), max(s) from t`,
    'select pg_sleep(0.01)',
  ]
  for (const sql of statements) {
    pauses.count = 0
    const answer = await run(pauses, sql)
    assert.deepEqual(answer, plain.run(queryMessage(sql)), sql)
    assert.equal(slot.transactionStatus, plain.transactionStatus)
    // How often a sleep pauses is a matter of time, and not of what there is to do.
    const isLong = /table|index|vacuum|perform|f.60|string_agg|update/.test(sql)
    assert.ok(
      pauses.count > (isLong ? 20 : 0) || /^(begin|rollback)/.test(sql),
      `${sql}: ${pauses.count}`,
    )
  }
  // verifySwaps: nothing of all this is left behind.
  const other = await engine.createSlot()
  const files = TenantFiles.inMemory({ template: engine.template, clock: systemClock })
  slot.unload()
  slot.begin(files)
  await run(pauses, 'create temporary table kept as select 7 as n')
  assert.ok(slot.canNap)
  other.resume(files, slot.nap())
  assert.equal(readAnswer(other.run(queryMessage('select n from kept'))).result.rows[0]?.[0], '7')
})

test('what has paused can be cancelled, and nothing else be done with its slot', async () => {
  const pauses = await pausingSlot()
  const { slot } = pauses
  const refused: string[] = []
  pauses.meanwhile = () => {
    if (pauses.count !== 9) return
    for (const act of [() => slot.run(queryMessage('select 1')), () => slot.nap()]) {
      assert.throws(act)
      refused.push('refused')
    }
    slot.cancel()
  }
  const { error } = readAnswer(await run(pauses, 'select count(*) from generate_series(1, 1e9)'))
  assert.equal(error?.sqlState, '57014')
  assert.equal(refused.length, 2)
  assert.equal(readAnswer(await run(pauses, 'select 3')).result.rows[0]?.[0], '3')
})

test('what nobody wants any more ends, whatever it catches', async () => {
  const pauses = await pausingSlot()
  const { slot } = pauses
  pauses.meanwhile = () => {
    if (pauses.count === 9) slot.cancel(true)
  }
  const stubborn = `do $$ begin loop
    begin perform count(*) from generate_series(1, 1000);
    exception when query_canceled then null; end;
    exit when clock_timestamp() > now() + interval '10 s';
  end loop; end $$`
  const { error } = readAnswer(await run(pauses, stubborn))
  assert.equal(error?.sqlState, '57014')
  assert.equal(readAnswer(await run(pauses, 'select 3')).result.rows[0]?.[0], '3')
})

test('many that pause are each on their own', async () => {
  const slots = await Promise.all([1, 2, 3].map(() => pausingSlot()))
  const sums = slots.map(async (pauses, index) => {
    for (let round = 1; round <= 3; round++) {
      const last = 2_000 * (index + 1)
      const answer = await run(pauses, `select sum(i) from generate_series(1, ${last}) i`)
      assert.equal(readAnswer(answer).result.rows[0]?.[0], String((last * (last + 1)) / 2))
    }
  })
  await Promise.all(sums)
})
