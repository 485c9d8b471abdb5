/**
 * Postgres whose code is fetched from a bucket and compiled when it is first asked for, on Node,
 * where that is allowed: the states of `/lazy-wasm`, which end in `failed` on Workers, end in
 * `ready` here.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { parseCode } from '../../src/engine/engine-assets.ts'
import { lendPatched } from '../../src/engine/wasm-module.ts'
import { LazyWasm } from '../../src/host/lazy-wasm.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { createEngine, loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { assetsIn } from '../../src/host/node/engine/sparse-file.ts'
import { readStockWasm } from '../../src/host/node/engine/stock-code.ts'
import { FolderBucket } from '../../src/host/node/folder-bucket.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { valueOf } from '../support/messages.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const KEY = 'engine/pglite.wasm'

test('code from a bucket becomes a Postgres that answers, and the cache has it then', async () => {
  using folder = temporaryFolder()
  const bucket = new FolderBucket(join(folder.path, 'bucket'))
  const cache = new FolderBucket(join(folder.path, 'cache'))
  const parts = await loadEngineParts()
  const { codePatches } = parseCode(assetsIn(parts.assets))
  const code = lendPatched(readStockWasm(), codePatches, (patched) => Uint8Array.from(patched))
  await bucket.put(KEY, code, undefined)
  const world = { clock: systemClock, random: systemRandom }
  const filled = Promise.withResolvers<void>()
  const open = (): LazyWasm<WasmSlot> =>
    new LazyWasm<WasmSlot>({
      clock: systemClock,
      fromCache: async () => (await cache.get(KEY))?.bytes,
      fromBucket: async () => {
        const found = await bucket.get(KEY)
        assert.ok(found)
        return found.bytes
      },
      toCache: async (bytes) => {
        await cache.put(KEY, bytes, undefined)
        filled.resolve()
      },
      compile: (bytes) => WebAssembly.compile(bytes),
      initialize: async (module) => {
        const engine = await createEngine({ ...parts, module }, world)
        const slot = await engine.createSlot()
        slot.boot(TenantFiles.inMemory({ template: engine.template, clock: systemClock }))
        return slot
      },
    })
  for (const source of ['bucket', 'cache'] as const) {
    const lazy = open()
    const loading = lazy.start()
    // Whoever asks now is somebody else's.
    assert.equal(lazy.instance, undefined)
    await loading
    const facts = lazy.facts()
    assert.deepEqual([facts.state, facts.failure], ['ready', undefined])
    assert.deepEqual([facts.source, facts.codeBytes], [source, code.length])
    assert.ok(lazy.instance)
    assert.equal(valueOf(lazy.instance, 'select 40 + 2'), '42')
    await filled.promise
  }
})
