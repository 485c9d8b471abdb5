import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../../base/clock.ts'
import { PgnapError } from '../../../base/errors.ts'
import type { TenantName } from '../../../base/ids.ts'
import { LIMITS } from '../../../base/limits.ts'
import type { FlushOrder } from './compute.ts'
import { type AlarmStorage, FlushAlarm, type FlushTools } from './flush-alarm.ts'

type KeptOrder = Parameters<AlarmStorage['put']>[1]

/** The storage of an object, as far as alarms need it. */
class MapStorage extends Map<string, KeptOrder> {
  dueMs: number | null = null
}

function newAlarm(): {
  clock: ManualClock
  storage: MapStorage
  alarm: FlushAlarm
  warnings: string[]
} {
  const clock = new ManualClock()
  const storage = new MapStorage()
  const warnings: string[] = []
  const calls: AlarmStorage = {
    get: async (key) => storage.get(key),
    put: async (key, order) => void storage.set(key, order),
    delete: async (key) => storage.delete(key),
    list: async ({ prefix }) => new Map([...storage].filter(([key]) => key.startsWith(prefix))),
    getAlarm: async () => storage.dueMs,
    setAlarm: async (atMs) => void (storage.dueMs = atMs),
  }
  const warn = (message: string): void => void warnings.push(message)
  return { clock, storage, alarm: new FlushAlarm(calls, clock, { warn }), warnings }
}

const order = (load: 'delta' | 'image', writer: string, sequence = 1): FlushOrder => ({
  home: { kind: 'STATES', object: 'thin/acme', tenant: 'acme' as TenantName },
  load,
  write: 'async',
  writer,
  sequence,
})

const tools = (had: (asked: FlushOrder) => boolean): FlushTools & { asked: string[] } => {
  const asked: string[] = []
  return {
    asked,
    has: async () => false,
    flush: async (flushed) => {
      asked.push(`${flushed.load} ${flushed.writer}`)
      return had(flushed)
    },
  }
}

test('every way to load, and every compute, has an order of its own', async () => {
  const { alarm } = newAlarm()
  await alarm.set(1_000, order('delta', 'a'))
  await alarm.set(1_000, order('image', 'a'))
  await alarm.set(1_000, order('image', 'b'))
  const first = tools(() => true)
  assert.equal(await alarm.ring(first), true)
  assert.deepEqual(first.asked, ['delta a', 'image a', 'image b'])
  const second = tools(() => true)
  assert.equal(await alarm.ring(second), true)
  assert.deepEqual(second.asked, [])
})

test('an isolate that has not got the commits is no reason to forget them', async () => {
  const { alarm, storage, clock } = newAlarm()
  await alarm.set(1_000, order('delta', 'a'))
  storage.dueMs = null
  assert.equal(await alarm.ring(tools(() => false)), false)
  assert.equal(storage.dueMs, clock.nowMs() + LIMITS.flushMs)
  const here = { ...tools(() => false), has: async () => true }
  assert.equal(await alarm.ring(here), true)
  assert.deepEqual([here.asked, storage.size], [[], 0])
})

test('what cannot be reached is asked again, what was refused is not', async () => {
  const { alarm, storage } = newAlarm()
  for (const [code, isKept] of [
    ['SERVER_UNREACHABLE', true],
    ['OUTCOME_UNKNOWN', true],
    ['STORE_FENCED', false],
  ] as const) {
    await alarm.set(1_000, order('delta', 'a'))
    const failing = tools(() => {
      throw new PgnapError(code, 'failed')
    })
    assert.equal(await alarm.ring(failing), !isKept, code)
    assert.equal(storage.size, isKept ? 1 : 0, code)
  }
})

test('a commit that is ordered while others are flushed stays ordered', async () => {
  const { alarm, storage } = newAlarm()
  await alarm.set(1_000, order('delta', 'a', 1))
  const { has } = tools(() => true)
  const flush = async (): Promise<boolean> => {
    await alarm.set(1_000, order('delta', 'a', 2))
    return true
  }
  assert.equal(await alarm.ring({ has, flush }), false)
  assert.deepEqual(
    [...storage.values()].map(({ sequence }) => sequence),
    [2],
  )
})

test('what never comes is given up, and that is told', async () => {
  const { alarm, storage, clock, warnings } = newAlarm()
  await alarm.set(1_000, order('delta', 'a'))
  assert.equal(await alarm.ring(tools(() => false)), false)
  assert.deepEqual(warnings, [])
  clock.advance(LIMITS.flushOrderMs)
  assert.equal(await alarm.ring(tools(() => false)), true)
  assert.deepEqual([storage.size, warnings.length], [0, 1])
})
