/**
 * A statement that pauses, and what else its thread does meanwhile. With the real engine; here the
 * flag is raised by the thread itself, before the statement and whenever it goes on.
 */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { keptBytes } from '../../src/base/bytes.ts'
import { requestCancel } from '../../src/engine/interrupts.ts'
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

test('spike', async () => {
  const long = await pausingSlot()
  for (const sql of [
    'select pg_sleep(0.05)',
    `do $$ begin for i in 1..2000 loop perform i; end loop; end $$`,
    'create function f(n int) returns int language plpgsql as $$ declare s int := 0; begin for i in 1..n loop s := s + (select 1); end loop; begin perform 1/0; exception when division_by_zero then s := s + 1000; end; return s; end $$',
    'select f(500)',
    'select 1/0',
    'create table t as select i from generate_series(1,1000) i',
    'create index on t(i)',
    'vacuum t',
    'select 1/(i-900) from t',
    'select count(*) from t a, t b where a.i < 5',
  ]) {
    long.count = 0
    const t = performance.now()
    const a = readAnswer(await run(long, sql))
    console.log(
      sql.slice(0, 40),
      long.count,
      (performance.now() - t).toFixed(1),
      JSON.stringify(a.result.rows),
      a.error?.sqlState,
    )
  }
  let n = 0
  long.meanwhile = () => {
    if (++n === 20) requestCancel(long.slot.interruptFlags)
  }
  const a = readAnswer(await run(long, 'select count(*) from t a, t b, t c where a.i < 3'))
  console.log(a.error, long.count)
})
