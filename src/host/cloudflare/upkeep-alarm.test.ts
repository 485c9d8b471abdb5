import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import type { TenantName } from '../../base/ids.ts'
import { silentLog } from '../../base/log.ts'
import { type AlarmStorage, UpkeepAlarm } from './upkeep-alarm.ts'
import { upkeepAfterMs } from './upkeep-settings.ts'

const AFTER_MS = 60_000
const acme = 'acme' as TenantName

class Storage implements AlarmStorage {
  readonly values = new Map<string, string>()
  alarmMs: number | null = null
  sets = 0
  failure: Error | undefined

  async get(key: string): Promise<unknown> {
    return this.values.get(key)
  }

  async put(key: string, value: string): Promise<void> {
    if (this.failure) throw this.failure
    this.values.set(key, value)
  }

  async getAlarm(): Promise<number | null> {
    return this.alarmMs
  }

  async setAlarm(atMs: number): Promise<void> {
    this.alarmMs = atMs
    this.sets++
  }
}

/** An object with its alarm. The platform takes an alarm away before it rings. */
class World {
  readonly storage = new Storage()
  readonly clock = new ManualClock()
  alarm = this.memory()
  stepsLeft = 0
  steps: string[] = []

  /** What an isolate knows that has only just begun. */
  memory(afterMs = AFTER_MS): UpkeepAlarm {
    return new UpkeepAlarm(this.storage, { clock: this.clock, log: silentLog, afterMs })
  }

  async write(): Promise<void> {
    this.alarm.wrote(acme)
    await settled()
  }

  async ring(stepMs = 0, during = (): void => {}): Promise<void> {
    this.storage.alarmMs = null
    await this.alarm.ring({
      step: async (tenant) => {
        this.steps.push(tenant)
        this.clock.advance(stepMs)
        during()
        return --this.stepsLeft > 0
      },
      turn: async () => {},
    })
    await settled()
  }
}

const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

test('writes set one alarm, which does all steps and rests', async () => {
  const world = new World()
  for (let count = 0; count < 5; count++) await world.write()
  assert.equal(world.storage.sets, 1)
  assert.equal(world.storage.alarmMs, world.clock.nowMs() + AFTER_MS)
  world.clock.advance(AFTER_MS)
  world.stepsLeft = 4
  await world.ring()
  assert.deepEqual(world.steps, [acme, acme, acme, acme])
  assert.equal(world.storage.alarmMs, null, 'nothing wakes it again')
  await world.write()
  assert.equal(world.storage.sets, 2)
})

test('who comes puts it off, and needs no storage for that', async () => {
  const world = new World()
  await world.write()
  world.clock.advance(AFTER_MS - 10)
  world.alarm.used()
  world.clock.advance(10)
  await world.ring()
  assert.deepEqual(world.steps, [])
  assert.equal(world.storage.alarmMs, world.clock.nowMs() + AFTER_MS - 10)
  await world.write()
  assert.equal(world.storage.sets, 2)
})

test('an alarm outlives the memory that has set it', async () => {
  const world = new World()
  await world.write()
  world.alarm = world.memory()
  await world.write()
  assert.equal(world.storage.sets, 1, 'that of the former one still stands')
  world.alarm = world.memory()
  await world.ring()
  assert.deepEqual(world.steps, [acme])
})

test('what takes too long goes on later, and a write meanwhile is not forgotten', async () => {
  const world = new World()
  await world.write()
  world.clock.advance(AFTER_MS)
  world.stepsLeft = Number.POSITIVE_INFINITY
  await world.ring(LIMITS.upkeepAlarmWorkMs / 4)
  assert.equal(world.steps.length, 4)
  assert.ok(world.storage.alarmMs)
  world.stepsLeft = 1
  world.clock.advance(AFTER_MS)
  await world.ring(0, () => world.alarm.wrote(acme))
  assert.ok(world.storage.alarmMs)
})

test('a step that fails is told to the platform, which rings again', async () => {
  const world = new World()
  await world.write()
  world.clock.advance(AFTER_MS)
  const failing = world.ring(0, () => {
    throw new Error('no store')
  })
  await assert.rejects(failing, /no store/)
})

test('a storage that fails is told of, and asked again by the next write', async () => {
  const world = new World()
  world.storage.failure = new Error('no room')
  await world.write()
  assert.equal(world.storage.alarmMs, null)
  world.storage.failure = undefined
  await world.write()
  assert.ok(world.storage.alarmMs)
})

test('it can be turned off', async () => {
  const world = new World()
  world.alarm = world.memory(0)
  await world.write()
  assert.equal(world.storage.alarmMs, null)
  await world.ring()
  assert.deepEqual(world.steps, [])
})

test('the setting is a number of seconds, and what cannot be meant is refused', () => {
  const afterMs = (text: string): number => upkeepAfterMs({ PGNAP_UPKEEP_AFTER_SECONDS: text })
  assert.equal(upkeepAfterMs({}), LIMITS.upkeepAlarmMs)
  assert.deepEqual([afterMs('0'), afterMs('90')], [0, 90_000])
  for (const text of ['soon', '-1', '1.5', '', '86401', '1000000']) {
    assert.throws(() => afterMs(text), { code: 'CONFIG_INVALID' }, text)
  }
})
