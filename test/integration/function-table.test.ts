/** What is read from the module stands in for what the loader finds out by itself. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { functionMapFiller } from '../../src/engine/function-table.ts'
import { beginInstance } from '../../src/engine/wasm-engine.ts'
import type { Instance } from '../../src/engine/instance.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { SparseFile } from '../../src/host/node/engine/sparse-file.ts'
import { loadFactory } from '../../src/host/node/engine/stock.ts'

test('the function table is as the loader makes it that looks at every entry', async () => {
  const { module, bundle, exportPlaces } = await loadEngineParts()
  const begin = (known: object): Promise<Instance> =>
    beginInstance({
      factory: loadFactory(),
      module,
      bundle: new SparseFile(bundle, new ArrayBuffer(bundle.sizeBytes)),
      clock: systemClock,
      ...known,
    })
  const [known, lookedUp] = [
    await begin({ fillFunctionMap: functionMapFiller(exportPlaces) }),
    await begin({}),
  ]
  assert.ok(known.tableLength > 6_000)
  assert.deepEqual(namesIn(known), namesIn(lookedUp))
  assert.ok(exportPlaces.some((place) => place > 0))
})

/** Functions are named by their index in the module; an entry may be empty. */
function namesIn(instance: Instance): string[] {
  return Array.from({ length: instance.tableLength }, (_, index) => {
    try {
      return instance.functionAt(index).name
    } catch {
      return ''
    }
  })
}
