import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { memoryDeltaCode } from './memory-delta-code.ts'
import { memoryMinimumPages, withMemoryLimits } from './wasm-module.ts'

// A real module that imports three memories.
const MODULE = memoryDeltaCode({ minimumPages: 1, maximumPages: 16, shared: false })

test('any limits can be declared, and the module stays valid', () => {
  const limits = fc
    .tuple(fc.integer({ min: 0, max: 65_536 }), fc.integer({ min: 0, max: 65_536 }), fc.boolean())
    .map(([a, b, shared]) => ({
      minimumPages: Math.min(a, b),
      maximumPages: Math.max(a, b),
      shared,
    }))
  fc.assert(
    fc.property(limits, (wanted) => {
      const changed = withMemoryLimits(MODULE, wanted)
      assert.equal(memoryMinimumPages(changed), wanted.minimumPages)
      assert.ok(WebAssembly.validate(changed))
    }),
  )
})

test('a memory of another kind is refused by the changed module', () => {
  const shared = withMemoryLimits(MODULE, { minimumPages: 1, maximumPages: 16, shared: true })
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 16 })
  const module = new WebAssembly.Module(shared)
  assert.throws(
    () => new WebAssembly.Instance(module, { env: { memory, base: memory, scratch: memory } }),
    WebAssembly.LinkError,
  )
})

test('bytes that are no module with a memory are an assertion, not a wrong answer', () => {
  const limits = { minimumPages: 1, maximumPages: 1, shared: false }
  assert.throws(() => withMemoryLimits(new Uint8Array(8), limits), /imports no memory/)
  assert.throws(() => withMemoryLimits(MODULE.subarray(0, 20), limits), /too early|no memory/)
})
