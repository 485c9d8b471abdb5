/**
 * A start takes memory as it is: what lies beyond its heap, and in the buffers for pages, is what a
 * slot had there before. So it is tried with noise there. What a start and statements after it
 * leave must be the same but for the noise that is still where it was.
 */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { ManualClock } from '../../src/base/clock.ts'
import { SeededRandom } from '../../src/base/random.ts'
import { parseVerifiedAssets } from '../../src/engine/engine-assets.ts'
import { DELTA_PAGE_BYTES } from '../../src/engine/memory-delta.ts'
import { SHARED_BUFFERS_BYTES } from '../../src/engine/recipe.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import {
  createEngine,
  type EngineParts,
  loadEngineParts,
} from '../../src/host/node/engine/load-engine.ts'
import { assetsIn } from '../../src/host/node/engine/sparse-file.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { Store } from '../../src/store/store.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { runSql } from '../support/messages.ts'
import { pagesIn } from '../support/page-runs.ts'
import { storeOptions } from '../support/store-options.ts'

/** Of thirty million. */
const ODD_BYTES_MAX = 8_192

let parts: EngineParts
before(async () => {
  parts = await loadEngineParts()
})

/** An engine whose slots' memories are at hand, and whose time stands still. */
async function openEngine(): Promise<{ engine: WasmEngine; slot: WasmSlot; heap: Uint8Array }> {
  const memories: WebAssembly.Memory[] = []
  const engine = await createEngine(parts, {
    clock: new ManualClock(),
    random: new SeededRandom(7),
    shareBase: (memory) => {
      memories.push(memory)
      return undefined
    },
  })
  const slot = await engine.createSlot()
  const [memory] = memories
  assert.ok(memory)
  return { engine, slot, heap: new Uint8Array(memory.buffer) }
}

/** Pages that a start may find anything in: those of the base that it does not empty. */
function freePages(): number[] {
  const { preMain } = parseVerifiedAssets(assetsIn(parts.assets))
  const emptied = new Set(pagesIn(preMain.emptyRuns))
  const ownEnd = preMain.delta.endBytes / DELTA_PAGE_BYTES
  const { buffersAt } = preMain.sharedMemory
  const buffers = pagesIn([buffersAt / DELTA_PAGE_BYTES, SHARED_BUFFERS_BYTES / DELTA_PAGE_BYTES])
  const rest = pagesIn(parts.base.runs).filter((page) => page >= ownEnd && !emptied.has(page))
  return [...new Set([...buffers, ...rest])]
}

const WORK: readonly string[] = [
  'select count(*), sum(n), max(t) from t',
  "insert into t select g, 'later ' || g from generate_series(1, 3000) g",
  'create table made (id serial primary key, v numeric default 1.5, at date)',
  "insert into made (at) select date '2026-01-01' + g from generate_series(1, 500) g",
  'create index on made (at)',
  'do $$ declare x int; begin for i in 1..50 loop select n into x from t limit 1; end loop; end $$',
  'begin; update made set v = v * id; savepoint s; delete from t; rollback to s; commit',
  'select md5(string_agg(v::text, chr(44) order by id)) from made',
  'vacuum analyze t',
  'checkpoint',
  `select count(*), sum(n), md5(string_agg(t, ',' order by n, t)) from t`,
]

/** What a tenant with rows says when it is booted, and the memory that it leaves. */
async function bootAndWork(
  settings: readonly string[],
  noise: (heap: Uint8Array) => void,
): Promise<{ answers: string; heap: Uint8Array }> {
  const { engine, slot, heap } = await openEngine()
  const clock = new ManualClock()
  const store = Store.open(NodeSqliteMedium.inMemory(), storeOptions(engine.template, { clock }))
  const open = (): TenantFiles =>
    TenantFiles.open(store.view(), { template: engine.template, clock })
  const first = open()
  slot.begin(first)
  runSql(slot, "create table t as select g as n, 'row ' || g as t from generate_series(1, 2000) g")
  for (const sql of settings) assert.equal(runSql(slot, sql).error, undefined)
  first.commit()
  slot.unload()
  first.close()
  noise(heap)
  slot.boot(open())
  const answers = WORK.map((sql) => JSON.stringify(runSql(slot, sql)))
  return { answers: answers.join('\n'), heap: heap.slice() }
}

const SETTINGS: Readonly<Record<string, readonly string[]>> = {
  'of the template': [],
  'of ALTER SYSTEM': ['alter system set max_connections = 300'],
  'of a file that was written over': [
    `copy (select string_to_table(pg_read_file('postgresql.conf'), chr(10))
       union all select 'wal_buffers = 6MB') to '/pglite/data/postgresql.conf'`,
  ],
}

for (const [whose, settings] of Object.entries(SETTINGS)) {
  test(`settings ${whose}: a start looks at no memory that it has not filled`, async () => {
    const pages = freePages()
    assert.ok(pages.length > 1_500, `${pages.length} pages may hold anything`)
    const random = new SeededRandom(5)
    const noise = new Map<number, Uint8Array>()
    const clean = await bootAndWork(settings, () => {})
    const noisy = await bootAndWork(settings, (heap) => {
      for (const page of pages) {
        const bytes = random.bytes(DELTA_PAGE_BYTES)
        noise.set(page, bytes)
        heap.set(bytes, page * DELTA_PAGE_BYTES)
      }
    })
    assert.equal(noisy.answers, clean.answers)
    const { left, odd } = compare(clean.heap, noisy.heap, noise)
    const isKept = settings.length === 0
    assert.equal(left > 1_000_000, isKept, `${left} bytes of noise are still there`)
    // Times, and what lies between the fields of a structure.
    assert.ok(odd < ODD_BYTES_MAX, `${odd} bytes are other than without noise`)
  })
}

/** Bytes that differ: those that are still noise, and others. */
function compare(
  clean: Uint8Array,
  noisy: Uint8Array,
  noise: ReadonlyMap<number, Uint8Array>,
): { left: number; odd: number } {
  let [left, odd] = [0, 0]
  for (const [at, byte] of noisy.entries()) {
    if (byte === clean[at]) continue
    const ofPage = noise.get(Math.floor(at / DELTA_PAGE_BYTES))
    if (ofPage?.[at % DELTA_PAGE_BYTES] === byte) left++
    else odd++
  }
  return { left, odd }
}
