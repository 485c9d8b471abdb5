import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { isWorking, LAZY_TRANSITIONS, type LazyEvent, type LazyState } from './lazy-wasm-state.ts'
import { LazyWasm, type LazyWasmOptions } from './lazy-wasm.ts'

const STATES = Object.keys(LAZY_TRANSITIONS) as LazyState[]
const EVENTS = Object.keys(LAZY_TRANSITIONS.ready) as LazyEvent[]

/** `(module (func (export "answer") (result i32) i32.const 42))` */
const CODE = Uint8Array.fromHex(
  '0061736d010000000105016000017f0302010' + '0070a0106616e737765720000' + '0a06010400412a0b',
)

test('every state is reached, in all ways, and each way ends in ready or failed', () => {
  const reached = new Set<LazyState>(['not_started'])
  for (const state of reached) {
    for (const event of EVENTS) {
      const next = LAZY_TRANSITIONS[state][event]
      if (next) reached.add(next)
    }
  }
  assert.deepEqual([...reached].toSorted(), STATES.toSorted())
  for (const state of STATES) {
    const { start, force, done, missed, failed } = LAZY_TRANSITIONS[state]
    // Requests come at any time; only the end of work needs work.
    assert.ok(start && force, state)
    assert.equal(done !== undefined, isWorking(state))
    assert.equal(failed !== undefined, isWorking(state))
    assert.equal(missed !== undefined, state === 'loading_from_cache')
    // Work that ends never leads back: no more than four steps to an end.
    let at: LazyState | undefined = state
    for (let steps = 0; at && isWorking(at); steps++) {
      assert.ok(steps < 4, state)
      const transitions: (typeof LAZY_TRANSITIONS)[LazyState] = LAZY_TRANSITIONS[at]
      at = transitions.missed ?? transitions.done
    }
  }
  assert.deepEqual(STATES.filter((state) => !isWorking(state)).toSorted(), [
    'failed',
    'not_started',
    'ready',
  ])
})

test('no request brings a failed one back, and force does', () => {
  assert.equal(LAZY_TRANSITIONS.failed.start, 'failed')
  assert.equal(LAZY_TRANSITIONS.failed.force, 'loading_from_cache')
  assert.equal(LAZY_TRANSITIONS.ready.force, 'ready')
})

interface World {
  readonly lazy: LazyWasm<number>
  readonly cached: Map<string, Uint8Array<ArrayBuffer>>
  readonly calls: string[]
}

/** @param fails what rejects */
function open(
  fails: Partial<Record<keyof LazyWasmOptions<number>, string>> = {},
  isCached = false,
): World {
  const cached = new Map(isCached ? [['code', CODE]] : [])
  const calls: string[] = []
  const called = async (name: keyof LazyWasmOptions<number>): Promise<void> => {
    calls.push(name)
    if (fails[name] !== undefined) throw new Error(fails[name])
  }
  const lazy = new LazyWasm<number>({
    clock: new ManualClock(),
    fromCache: async () => {
      await called('fromCache')
      return cached.get('code')
    },
    fromBucket: async () => {
      await called('fromBucket')
      return CODE
    },
    toCache: async (code) => {
      await called('toCache')
      cached.set('code', code)
    },
    compile: async (code) => {
      await called('compile')
      return WebAssembly.compile(code)
    },
    initialize: async (module) => {
      await called('initialize')
      const { exports } = await WebAssembly.instantiate(module)
      return (exports['answer'] as () => number)()
    },
  })
  return { lazy, cached, calls }
}

test('an empty cache: the bucket, the cache is filled, and it is ready', async () => {
  const { lazy, cached, calls } = open()
  assert.equal(lazy.facts().state, 'not_started')
  const loading = lazy.start()
  assert.equal(lazy.facts().state, 'loading_from_cache')
  assert.equal(lazy.instance, undefined)
  await loading
  const { state, source, codeBytes, attempts, phases } = lazy.facts()
  assert.deepEqual([state, source, codeBytes, attempts], ['ready', 'bucket', CODE.length, 1])
  assert.equal(lazy.instance, 42)
  assert.deepEqual(cached.get('code'), CODE)
  assert.deepEqual(calls, ['fromCache', 'fromBucket', 'toCache', 'compile', 'initialize'])
  assert.deepEqual(
    phases.map(({ name }) => name),
    ['loading_from_cache', 'loading_from_r2', 'compiling', 'initializing'],
  )
  await lazy.start()
  await lazy.force()
  assert.equal(calls.length, 5)
})

test('a full cache: no bucket is asked', async () => {
  const { lazy, calls } = open({}, true)
  await lazy.start()
  assert.deepEqual([lazy.facts().state, lazy.facts().source], ['ready', 'cache'])
  assert.deepEqual(calls, ['fromCache', 'compile', 'initialize'])
})

test('requests at the same time load once', async () => {
  const { lazy, calls } = open()
  await Promise.all([lazy.start(), lazy.start(), lazy.force(), lazy.start()])
  assert.equal(lazy.facts().attempts, 1)
  assert.equal(calls.filter((name) => name === 'compile').length, 1)
})

test('a cache that cannot be filled harms nothing', async () => {
  const { lazy } = open({ toCache: 'full' })
  await lazy.start()
  assert.equal(lazy.facts().state, 'ready')
})

test('a cache that does not answer is one that misses', async () => {
  const { lazy, calls } = open({ fromCache: 'unreachable' }, true)
  await lazy.start()
  assert.deepEqual([lazy.facts().state, lazy.facts().source], ['ready', 'bucket'])
  assert.deepEqual(calls.slice(0, 2), ['fromCache', 'fromBucket'])
})

for (const step of ['fromBucket', 'compile', 'initialize'] as const) {
  test(`what fails in ${step} is told, tried again by force alone, and may work then`, async () => {
    const fails: Partial<Record<typeof step, string>> = { [step]: 'disallowed by embedder' }
    const { lazy, calls } = open(fails)
    await lazy.start()
    assert.equal(lazy.facts().state, 'failed')
    assert.equal(lazy.facts().failure, 'Error: disallowed by embedder')
    assert.equal(lazy.instance, undefined)
    const before = calls.length
    await lazy.start()
    assert.equal(calls.length, before)
    await lazy.force()
    assert.deepEqual([lazy.facts().state, lazy.facts().attempts], ['failed', 2])
    Reflect.deleteProperty(fails, step)
    await lazy.force()
    assert.deepEqual(
      [lazy.facts().state, lazy.facts().failure, lazy.instance],
      ['ready', undefined, 42],
    )
  })
}
