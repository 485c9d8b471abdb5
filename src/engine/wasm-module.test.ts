import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { memoryDeltaCode } from './memory-delta-code.ts'
import {
  exportNames,
  fewerExports,
  lendPatched,
  limitsPatches,
  memoryMinimumPages,
  withMemoryLimits,
} from './wasm-module.ts'

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
      const changed = withMemoryLimits(MODULE, () => wanted)
      assert.equal(memoryMinimumPages(changed), wanted.minimumPages)
      assert.ok(WebAssembly.validate(changed))
    }),
  )
})

test('a memory of another kind is refused by the changed module', () => {
  const shared = withMemoryLimits(MODULE, () => ({
    minimumPages: 1,
    maximumPages: 16,
    shared: true,
  }))
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 16 })
  const module = new WebAssembly.Module(shared)
  assert.throws(
    () => new WebAssembly.Instance(module, { env: { memory, base: memory, scratch: memory } }),
    WebAssembly.LinkError,
  )
})

test('bytes that are no module with a memory are an assertion, not a wrong answer', () => {
  const limits = { minimumPages: 1, maximumPages: 1, shared: false }
  assert.throws(() => withMemoryLimits(new Uint8Array(8), () => limits), /imports no memory/)
  assert.throws(() => withMemoryLimits(MODULE.subarray(0, 20), () => limits), /too early|no memory/)
})

test('a lent module has the other limits, and is as it was afterwards', () => {
  const roomy = withMemoryLimits(MODULE, () => ({
    minimumPages: 2048,
    maximumPages: 32_768,
    shared: false,
  }))
  const before = new Uint8Array(roomy)
  for (const minimumPages of [1, 127, 128, 2048]) {
    const patches = limitsPatches(roomy, { minimumPages, maximumPages: 16_384, shared: true })
    const valid = lendPatched(roomy, patches, (lent) => {
      assert.equal(memoryMinimumPages(lent), minimumPages)
      return WebAssembly.validate(lent)
    })
    assert.ok(valid)
    assert.deepEqual(roomy, before)
  }
})

test('a lent module is given back though its user throws, and though it is a Buffer', () => {
  const lent = Buffer.from(
    withMemoryLimits(MODULE, () => ({ minimumPages: 300, maximumPages: 400, shared: false })),
  )
  const before = new Uint8Array(lent)
  const patches = limitsPatches(lent, { minimumPages: 1, maximumPages: 2, shared: false })
  assert.throws(() =>
    lendPatched(lent, patches, () => {
      throw new Error('no')
    }),
  )
  assert.deepEqual(new Uint8Array(lent), before)
})

test('limits that do not fit where the former ones were are an assertion', () => {
  const tight = withMemoryLimits(MODULE, () => ({
    minimumPages: 1,
    maximumPages: 2,
    shared: false,
  }))
  assert.throws(
    () => limitsPatches(tight, { minimumPages: 1, maximumPages: 65_536, shared: false }),
    /fit/,
  )
})

test('a module with fewer exports has those that were kept, and is as long as before', () => {
  const names = exportNames(MODULE)
  assert.ok(names.length >= 4)
  // As many as leave room for the section that takes the place of the rest.
  const kept = fc.subarray([...names], { maxLength: names.length - 2 })
  fc.assert(
    fc.property(kept, (wanted) => {
      const patch = fewerExports(MODULE, (name) => wanted.includes(name))
      const module = new Uint8Array(MODULE)
      module.set(patch.bytes, patch.at)
      const exported = WebAssembly.Module.exports(new WebAssembly.Module(module))
      assert.deepEqual(
        exported.map(({ name }) => name),
        names.filter((name) => wanted.includes(name)),
      )
    }),
  )
})
