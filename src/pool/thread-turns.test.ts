import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { acquire } from './pool-fast-path.ts'
import { ClientEntry, SlotEntry, TenantEntry } from './pool-model.ts'
import { ThreadTurns } from './thread-turns.ts'

/** A tenant that always wants the thread, and how long its batches take. */
interface Busy {
  readonly tenant: TenantEntry
  readonly batchMs: number
  /** Its one batch pauses again and again, each time after `batchMs`. */
  readonly pauses?: ClientEntry
  hadMs: number
  lastTurnMs: number
}

/** A thread with tenants that are awake, and a client of each that waits. */
class Thread {
  readonly turns: ThreadTurns = new ThreadTurns(LIMITS)
  readonly slots: SlotEntry[] = []
  readonly busy: Busy[] = []
  nowMs = 0

  join(batchMs: number): Busy {
    const tenant = new TenantEntry(`t${this.slots.length}` as TenantName)
    const slot = new SlotEntry(this.slots.length)
    slot.tenant = tenant
    tenant.phase = 'awake'
    tenant.outOfTurn = true
    tenant.served = true
    tenant.waiting.add(new ClientEntry(tenant))
    this.turns.arrive(tenant)
    this.slots.push(slot)
    const busy = { tenant, batchMs, hadMs: 0, lastTurnMs: this.nowMs }
    this.busy.push(busy)
    return busy
  }

  /** A tenant whose statement has paused, and takes for ever. */
  joinPaused(sliceMs: number): Busy {
    const { tenant } = this.join(sliceMs)
    tenant.waiting.clear()
    const pauses = new ClientEntry(tenant)
    tenant.holder = pauses
    this.turns.paused(pauses, 0, this.nowMs)
    const busy = { tenant, batchMs: sliceMs, pauses, hadMs: 0, lastTurnMs: this.nowMs }
    this.busy.splice(-1, 1, busy)
    return busy
  }

  /** One turn of the event loop: whoever is chosen runs until it is out of turn again. */
  turn(): Busy {
    assert.ok(this.turns.mustAsk(this.slots, this.nowMs), 'who waits is thought of')
    const chosen = this.turns.next(this.slots, this.nowMs)
    const busy = this.busy.find(({ tenant }) => tenant === chosen)
    assert.ok(busy, 'all of them wait, so nobody is waited for')
    busy.lastTurnMs = this.nowMs
    assert.ok(!busy.pauses?.awaitsTurn, 'it goes on')
    if (busy.pauses) this.slice(busy)
    else while (!busy.tenant.outOfTurn) this.run(busy)
    return busy
  }

  slice(busy: Busy): void {
    this.nowMs += busy.batchMs
    busy.hadMs += busy.batchMs
    if (busy.pauses) this.turns.paused(busy.pauses, busy.hadMs, this.nowMs)
  }

  run(busy: Busy): void {
    this.nowMs += busy.batchMs
    busy.hadMs += busy.batchMs
    busy.tenant.lastUsedMs = this.nowMs
    this.turns.charge(busy.tenant, busy.batchMs, this.nowMs)
  }
}

const batchesMs = fc.array(
  fc.oneof(
    fc.double({ min: 0.005, max: 1, noNaN: true }),
    fc.double({ min: 1, max: 60, noNaN: true }),
  ),
  { minLength: 2, maxLength: 12 },
)

test('nobody who wants the thread is passed over for long', () => {
  fc.assert(
    fc.property(batchesMs, (lengths) => {
      const thread = new Thread()
      for (const batchMs of lengths) thread.join(batchMs)
      const longestMs = Math.max(LIMITS.turnMs, ...lengths)
      // Until the others have used as much as it has: they do so together, while its own fades.
      const halvings = Math.log2(lengths.length + 1)
      const boundMs = halvings * LIMITS.turnMemoryMs + 2 * lengths.length * longestMs
      while (thread.nowMs < 2_000) {
        thread.turn()
        for (const { lastTurnMs } of thread.busy) assert.ok(thread.nowMs - lastTurnMs <= boundMs)
      }
    }),
    { numRuns: 50 },
  )
})

test('the shares of those who always want the thread become equal, long batches or short', () => {
  fc.assert(
    fc.property(batchesMs, (lengths) => {
      const thread = new Thread()
      for (const batchMs of lengths) thread.join(batchMs)
      const totalMs = 20 * lengths.length * Math.max(LIMITS.turnMemoryMs, ...lengths)
      while (thread.nowMs < totalMs) thread.turn()
      const fairMs = thread.nowMs / lengths.length
      for (const { hadMs, batchMs } of thread.busy) {
        assert.ok(Math.abs(hadMs - fairMs) < 0.15 * fairMs + 2 * batchMs, `${hadMs} of ${fairMs}`)
      }
    }),
    { numRuns: 20 },
  )
})

test('what has paused has the same share, slice by slice, beside batches of any length', () => {
  const pausedCount = fc.integer({ min: 1, max: 4 })
  fc.assert(
    fc.property(batchesMs, pausedCount, (lengths, paused) => {
      const thread = new Thread()
      for (const batchMs of lengths) thread.join(batchMs)
      for (let count = 0; count < paused; count++) thread.joinPaused(2)
      const totalMs = 20 * thread.busy.length * Math.max(LIMITS.turnMemoryMs, ...lengths)
      while (thread.nowMs < totalMs) thread.turn()
      const fairMs = thread.nowMs / thread.busy.length
      for (const { hadMs, batchMs } of thread.busy) {
        assert.ok(Math.abs(hadMs - fairMs) < 0.2 * fairMs + 2 * batchMs, `${hadMs} of ${fairMs}`)
      }
    }),
    { numRuns: 20 },
  )
})

test('a statement that has paused pays for each slice, and at its end for the last one', () => {
  const thread = new Thread()
  const paused = thread.joinPaused(2)
  assert.ok(paused.pauses)
  thread.turns.paused(paused.pauses, 30, thread.nowMs)
  assert.equal(thread.turns.usedMs(paused.tenant, thread.nowMs), 30)
  thread.turns.paused(paused.pauses, 32, thread.nowMs)
  thread.turns.chargeRest(paused.pauses, 33, thread.nowMs)
  assert.equal(thread.turns.usedMs(paused.tenant, thread.nowMs), 33)
  assert.equal(paused.tenant.lastBatchMs, 30, 'the next one holds the thread as long in one go')
})

test('a newcomer goes before those who have had the thread, and cannot keep it', () => {
  const thread = new Thread()
  for (const batchMs of [0.02, 0.02, 50]) thread.join(batchMs)
  while (thread.nowMs < 1_000) thread.turn()
  const newcomer = thread.join(0.02)
  const sinceMs = thread.nowMs
  assert.equal(thread.turn(), newcomer)
  while (thread.nowMs < sinceMs + 4 * LIMITS.turnMemoryMs) thread.turn()
  for (const { lastTurnMs } of thread.busy) assert.ok(lastTurnMs > sinceMs)
})

test('between two looks at the sockets a tenant has one turn, and no more', () => {
  const lengths = fc.array(fc.double({ min: 0.001, max: 30, noNaN: true }), { minLength: 1 })
  fc.assert(
    fc.property(lengths, (batches) => {
      const thread = new Thread()
      const [first] = [thread.join(0), thread.join(0)]
      first.tenant.outOfTurn = false
      let usedMs = 0
      for (const batchMs of batches) {
        if (first.tenant.outOfTurn) break
        assert.ok(usedMs < LIMITS.turnMs)
        thread.run({ ...first, batchMs })
        usedMs += batchMs
      }
      assert.equal(first.tenant.outOfTurn, usedMs >= LIMITS.turnMs)
    }),
  )
})

test('alone in its shard a tenant yields only so that newcomers are heard', () => {
  const thread = new Thread()
  const alone = thread.join(0.02)
  alone.tenant.outOfTurn = false
  let yields = 0
  while (thread.nowMs < 1_000) {
    thread.run(alone)
    if (!alone.tenant.outOfTurn) continue
    yields++
    assert.equal(thread.turn(), alone, 'at the next turn of the event loop it goes on')
  }
  assert.ok(yields <= 1_000 / LIMITS.turnAloneMs)
})

test('before a long batch the next statement of a busy neighbour is waited for, not longer', () => {
  const thread = new Thread()
  const long = thread.join(50)
  const quiet = thread.join(0.05)
  assert.equal(thread.turn(), long)
  quiet.tenant.waiting.clear()
  quiet.tenant.outOfTurn = false
  thread.run(quiet)
  assert.ok(thread.turns.mustAsk(thread.slots, thread.nowMs))
  assert.equal(thread.turns.next(thread.slots, thread.nowMs), undefined, 'a pause')
  assert.ok(!thread.turns.mustAsk(thread.slots, thread.nowMs), 'which is not asked about')
  assert.equal(thread.turns.pauseUntilMs, thread.nowMs + LIMITS.turnPauseMs)
  // The neighbour says no more: the pause ends, and there is no second one.
  thread.nowMs += LIMITS.turnPauseMs
  assert.equal(thread.turn(), long)
})

test('while the next statement of a neighbour is waited for, what has paused goes on', () => {
  const thread = new Thread()
  const [long, quiet, paused] = [thread.join(50), thread.join(0.05), thread.joinPaused(2)]
  thread.run(long)
  while (thread.turns.usedMs(paused.tenant, thread.nowMs) < 60) thread.slice(paused)
  quiet.tenant.waiting.clear()
  quiet.tenant.outOfTurn = false
  thread.run(quiet)
  const { pauseUntilMs } = thread.turns
  assert.equal(thread.turn(), paused, 'though it has used more than who would go on')
  assert.notEqual(thread.turns.pauseUntilMs, pauseUntilMs, 'somebody is waited for')
})

test('a busy neighbour cannot put long batches off for ever', () => {
  const thread = new Thread()
  const long = thread.join(50)
  const quiet = thread.join(0.05)
  quiet.tenant.waiting.clear()
  thread.turn()
  while (thread.nowMs < 5_000) {
    quiet.tenant.outOfTurn = false
    thread.run(quiet)
    thread.nowMs += 0.2
    if (!thread.turns.mustAsk(thread.slots, thread.nowMs)) continue
    if (thread.turns.next(thread.slots, thread.nowMs) === long.tenant) thread.run(long)
  }
  assert.ok(long.hadMs > 0.4 * 5_000, `${long.hadMs} ms of 5000`)
})

test('who is out of turn stands in line, also in the middle of a transaction', () => {
  const thread = {
    turns: new ThreadTurns(LIMITS),
    slotQueue: new Set<TenantEntry>(),
    drainDeadlineMs: undefined,
  }
  const tenant = new TenantEntry('acme' as TenantName)
  tenant.phase = 'awake'
  const client = new ClientEntry(tenant)
  assert.ok(acquire(thread, client))
  client.phase = 'holding'
  tenant.outOfTurn = true
  assert.ok(!acquire(thread, client))
})

test('who needs less than a turn in each look at the sockets never stands in line', () => {
  const thread = new Thread()
  const [one] = [thread.join(0.8 * LIMITS.turnMs), thread.join(50)]
  one.tenant.outOfTurn = false
  for (let looks = 0; looks < 20_000; looks++) {
    thread.run(one)
    assert.ok(!one.tenant.outOfTurn)
    assert.ok(thread.turns.mustWatchLook(), 'somebody is to tell of the next look')
    assert.ok(!thread.turns.mustWatchLook(), 'one is enough')
    thread.turns.looked()
  }
  const usedMs = thread.turns.usedMs(one.tenant, thread.nowMs)
  const steadyMs = LIMITS.turnMemoryMs / Math.LN2
  assert.ok(Math.abs(usedMs - steadyMs) < 0.01 * steadyMs, `${usedMs} ms are on its bill`)
  // Two of them in one look are more than a turn.
  thread.run(one)
  thread.run(one)
  assert.ok(one.tenant.outOfTurn)
})
