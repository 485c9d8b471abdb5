import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { type ErrorCode, PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { type Log, silentLog } from '../base/log.ts'
import { LiveTenants } from './live-tenants.ts'
import type { PoolEvent, TenantPhase } from './pool-model.ts'
import { PoolState } from './pool-state.ts'
import { RestingUpkeep } from './resting-upkeep.ts'
import type { OpenTenant } from './tenant-source.ts'

const ACME = 'acme' as TenantName
const RETENTION_MS = 5_000

/** A store with so many slices to tidy, written when the test began. */
class Store {
  readonly #clock: ManualClock
  readonly #writtenMs: number
  slices: number
  isWorthTidying = true
  isOpen = false
  openings = 0
  fails: ErrorCode | undefined = undefined

  constructor(clock: ManualClock, slices: number) {
    this.#clock = clock
    this.#writtenMs = clock.nowMs()
    this.slices = slices
  }

  open(): OpenTenant {
    assert.ok(!this.isOpen, 'a store is opened once')
    this.isOpen = true
    this.openings++
    return {
      files: undefined as unknown as OpenTenant['files'],
      stamp: () => 'only',
      pristine: false,
      historyEndsMs: () => (this.slices > 0 ? this.#writtenMs + RETENTION_MS : undefined),
      isWorthTidying: () => this.isWorthTidying,
      tidy: () => {
        assert.ok(this.isOpen, 'only an open store is tidied')
        assert.ok(this.#clock.nowMs() >= this.#writtenMs + RETENTION_MS, 'not before its time')
        if (this.fails) throw new PgnapError(this.fails, 'no')
        return --this.slices > 0
      },
      readNotes: () => undefined,
      writeNotes: () => {},
      close: () => void (this.isOpen = false),
    }
  }
}

function world({ slices = 3, exists = true, owns = true } = {}) {
  const clock = new ManualClock()
  const state = new PoolState({ ...LIMITS, spareSlots: 0 })
  const tenants = new LiveTenants()
  const store = new Store(clock, slices)
  const facts = { exists, owns }
  const events: PoolEvent[] = []
  const lines: string[] = []
  const log: Log = { ...silentLog, warn: (text) => void lines.push(text) }
  const resting = new RestingUpkeep({
    state,
    tenants,
    clock,
    log,
    enabled: true,
    event: (event) => void events.push(event),
    source: { open: () => store.open(), exists: () => facts.exists, owns: () => facts.owns },
  })
  /** It has left its slot, its store open or not. */
  const leave = (phase: TenantPhase, keepOpen: boolean): void => {
    const open = store.open()
    resting.note(ACME, open)
    const live = tenants.of(state.tenant(ACME))
    live.entry.phase = phase
    if (keepOpen) return void (live.open = open)
    resting.closing(ACME, open)
    open.close()
  }
  return { clock, state, tenants, store, facts, resting, events, lines, leave }
}

test('an open store is tidied where it is, in slices with pauses, when its time has come', () => {
  const { clock, store, resting, leave } = world()
  leave('napping', true)
  clock.advance(RETENTION_MS - 1)
  assert.equal(store.slices, 3)
  clock.advance(1)
  assert.equal(store.slices, 2, 'one slice, and then others have the thread')
  clock.advance(9)
  assert.equal(store.slices, 2)
  clock.advance(1_000)
  assert.deepEqual([store.slices, store.isOpen, store.openings], [0, true, 1])
  assert.equal(resting.count, 0)
})

test('a closed one is opened for it once, if that is worth the trouble, and closed again', () => {
  const { clock, store, leave } = world()
  leave('asleep', false)
  clock.advance(RETENTION_MS + 1_000)
  assert.deepEqual([store.slices, store.isOpen, store.openings], [0, false, 2])
  clock.advance(1e6)
  assert.equal(store.openings, 2, 'nothing is left to be looked at')
  const other = world()
  other.store.isWorthTidying = false
  other.leave('cold', false)
  assert.equal(other.resting.count, 0)
})

test('who wakes it, pauses or deletes it finds its store closed; the rest is done later', () => {
  const { clock, state, tenants, store, resting, leave, events } = world({ slices: 5 })
  leave('cold', false)
  clock.advance(RETENTION_MS)
  assert.equal(store.isOpen, true)
  resting.letGo('other' as TenantName)
  assert.equal(store.isOpen, true)
  resting.letGo(ACME)
  assert.equal(store.isOpen, false)
  const entry = state.tenant(ACME)
  entry.phase = 'waking'
  clock.advance(1_000)
  assert.equal(store.isOpen, false)
  entry.phase = 'awake'
  clock.advance(10_000)
  assert.deepEqual(events, [{ type: 'upkeepDue', tenant: entry }])
  // It is written to, and leaves again.
  tenants.of(entry).entry.phase = 'cold'
  const open = store.open()
  resting.note(ACME, open)
  open.close()
  clock.advance(10)
  assert.equal(store.isOpen, true)
  state.handle({ type: 'held', name: ACME }, clock.monotonicMs())
  resting.letGoPaused()
  assert.equal(store.isOpen, false)
  clock.advance(60_000)
  assert.equal(store.isOpen, false, 'as long as somebody needs its file')
  state.handle({ type: 'letGo', name: ACME }, clock.monotonicMs())
  clock.advance(10_000)
  assert.deepEqual([store.slices, store.isOpen], [0, false])
  resting.note(ACME, { ...open, historyEndsMs: () => clock.nowMs() })
  resting.forget(ACME)
  assert.equal(resting.count, 0)
})

test('what is deleted, or another’s by then, is not opened: it would be made', () => {
  for (const gone of [{ exists: false }, { owns: false }]) {
    const { clock, store, facts, leave, resting } = world()
    leave('cold', false)
    Object.assign(facts, gone)
    clock.advance(RETENTION_MS + 1_000)
    assert.deepEqual([store.openings, resting.count], [1, 0])
  }
})

test('an error is logged and ends it; a file that others read is tried again', () => {
  const { clock, store, leave, lines, resting } = world()
  store.fails = 'STORE_IO'
  leave('cold', false)
  clock.advance(RETENTION_MS + 60_000)
  assert.deepEqual(lines, ['the store of a tenant was not tidied'])
  assert.deepEqual([store.isOpen, store.slices, resting.count], [false, 3, 0])
  const other = world()
  other.store.fails = 'STORE_LOCKED'
  other.leave('cold', false)
  other.clock.advance(RETENTION_MS)
  other.store.fails = undefined
  other.clock.advance(20_000)
  assert.deepEqual([other.store.isOpen, other.store.slices, other.lines], [false, 0, []])
})

test('the end closes what is open, and nothing begins any more', () => {
  const { clock, store, leave, resting } = world()
  leave('cold', false)
  clock.advance(RETENTION_MS)
  assert.equal(store.isOpen, true)
  resting.stop()
  assert.equal(store.isOpen, false)
  clock.advance(1e6)
  assert.equal(store.openings, 2)
})

test('of too many tenants the oldest are forgotten', () => {
  const { clock, resting, store } = world()
  const open = store.open()
  for (let index = 0; index <= LIMITS.restingUpkeepMax; index++) {
    resting.note(`t${index}` as TenantName, open)
  }
  assert.equal(resting.count, LIMITS.restingUpkeepMax)
  resting.forget('t0' as TenantName)
  assert.equal(resting.count, LIMITS.restingUpkeepMax, 'that was the one')
  clock.advance(0)
})
