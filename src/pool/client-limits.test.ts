import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { NO_TIMEOUTS, type SessionTimeouts } from '../engine/timeout-memory.ts'
import { ClientLimits } from './client-limits.ts'

function watched(timeouts: Partial<SessionTimeouts>) {
  const clock = new ManualClock()
  const told: string[] = []
  const limits = new ClientLimits({
    clock,
    dismiss: ({ sqlState }) => told.push(sqlState),
    giveUp: (limit) => told.push(limit),
  })
  const rests = (status: 'idle' | 'transaction' | 'failed'): void =>
    limits.rests({ ...NO_TIMEOUTS, ...timeouts }, status, clock.monotonicMs())
  return { clock, told, limits, rests }
}

test('an idle session is sent away after its limit, counted from its last batch', () => {
  const { clock, told, limits, rests } = watched({ idle_session_timeout: 100 })
  rests('idle')
  clock.advance(99)
  limits.works()
  clock.advance(99)
  rests('idle')
  clock.advance(99)
  assert.deepEqual(told, [])
  clock.advance(1)
  assert.deepEqual(told, ['57P05'])
})

test('an idle transaction has a limit for each pause, a transaction one for all of them', () => {
  const times = { idle_in_transaction_session_timeout: 100, transaction_timeout: 250 }
  const { clock, told, rests } = watched({ ...times, idle_session_timeout: 1 })
  for (let batch = 0; batch < 3; batch++) {
    rests(batch % 2 ? 'failed' : 'transaction')
    clock.advance(90)
  }
  assert.deepEqual(told, ['25P04'])
  rests('idle')
  rests('transaction')
  clock.advance(100)
  assert.deepEqual(told, ['25P04', '25P03'])
})

test('a pipeline that has not ended is a transaction, and not idle', () => {
  const { clock, told, limits } = watched({})
  const idle = { idle_in_transaction_session_timeout: 50, idle_session_timeout: 50 }
  const timeouts = { ...NO_TIMEOUTS, ...idle, transaction_timeout: 200 }
  limits.rests(timeouts, 'pipeline', clock.monotonicMs())
  clock.advance(199)
  assert.deepEqual(told, [])
  clock.advance(1)
  assert.deepEqual(told, ['25P04'])
})

test('a transaction that has taken its time in a statement ends with that statement', () => {
  const { clock, told, limits } = watched({})
  const startMs = clock.monotonicMs()
  clock.advance(500)
  limits.rests({ ...NO_TIMEOUTS, transaction_timeout: 200 }, 'failed', startMs)
  clock.advance(1)
  assert.deepEqual(told, ['25P04'])
})

test('a batch waits for other clients and for its turn as long as its session said', () => {
  const { clock, told, limits, rests } = watched({ lock_timeout: 50, statement_timeout: 80 })
  rests('idle')
  limits.waits(false)
  clock.advance(50)
  assert.deepEqual(told, ['LOCK_TIMEOUT'])
  clock.advance(30)
  assert.deepEqual(told, ['LOCK_TIMEOUT', 'STATEMENT_TIMEOUT'])
  limits.waits(false)
  limits.works()
  clock.advance(1000)
  assert.equal(told.length, 2, 'it has its turn')
  rests('transaction')
  limits.waits(false)
  clock.advance(1000)
  assert.equal(told.length, 2, 'whoever is in a transaction is not thrown out of it')
})

test('a limit that was taken back does not go off', () => {
  const { clock, told, limits, rests } = watched({ idle_session_timeout: 100 })
  rests('idle')
  limits.rests(NO_TIMEOUTS, 'idle', clock.monotonicMs())
  clock.advance(1000)
  assert.deepEqual(told, [])
})
