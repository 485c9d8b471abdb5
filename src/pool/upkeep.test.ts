import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, fromUtf8, utf8 } from '../base/bytes.ts'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { type Log, silentLog } from '../base/log.ts'
import type { Slot } from '../engine/engine.ts'
import { SETTINGS_SQL, WAL_BYTES_SQL } from './maintenance.ts'
import { SlotEntry } from './pool-model.ts'
import type { PoolView } from './pool-policy.ts'
import { PoolState } from './pool-state.ts'
import type { OpenTenant, TenantFiles } from './tenant-source.ts'
import { isUrgent, Upkeep } from './upkeep.ts'
import type { MaintenanceProgress } from './upkeep.ts'
import type { UpkeepSign } from './upkeep-patience.ts'

const SETTINGS = ['on', '50', '0.2', '-1', '1000', '0.2', '50', '0.1', '200000000', '400000000']
const TENANT = 'acme' as TenantName

function message(type: string, ...parts: Uint8Array[]): Uint8Array {
  const body = concatBytes(parts)
  const head = new Uint8Array(5)
  head[0] = type.charCodeAt(0)
  new DataView(head.buffer).setInt32(1, body.length + 4)
  return concatBytes([head, body])
}

function int(value: number, byteCount: 2 | 4): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setInt32(0, value)
  return bytes.subarray(4 - byteCount)
}

function dataRow(row: readonly (string | null)[]): Uint8Array {
  const columns = row.map((value) =>
    value === null ? int(-1, 4) : concatBytes([int(utf8(value).length, 4), utf8(value)]),
  )
  return message('D', int(row.length, 2), ...columns)
}

/** A tenant whose Postgres answers the pool's queries from these fields. */
class Tenant {
  readonly statements: string[] = []
  readonly files = {
    dirty: false,
    walDirty: false,
    dirtyBytes: 0,
    walBytesWritten: 0,
    midwayBytesMax: Number.POSITIVE_INFINITY,
  }
  tables: (string | null)[][] = []
  walBytes = 0
  refuse: string | undefined = undefined
  slices = 0
  notes: string | undefined = undefined
  notesError: PgnapError | undefined = undefined

  readonly slot: Slot = {
    boot: () => {},
    begin: () => {},
    resume: () => {},
    canNap: false,
    canCopy: false,
    copy: () => assert.fail('upkeep forks nobody'),
    fork: () => assert.fail('upkeep forks nobody'),
    transaction: 0,
    hasTransacted: false,
    nap: () => assert.fail('upkeep puts nobody to sleep'),
    recycle: () => {},
    run: (bytes) => this.#answer(bytes),
    errorsRaised: 0,
    transactionStatus: 'idle',
    signalReceiver: undefined,
    takeDatabaseStatements: () => [],
    session: undefined as unknown as Slot['session'],
    unload: () => {},
    shutDown: () => {},
    memoryBytes: 0,
    reusable: true,
    discard: () => {},
  }

  readonly open: OpenTenant & { hasLittleRoom: boolean; owesRoom: boolean } = {
    files: this.files as unknown as TenantFiles,
    stamp: () => 'only',
    pristine: false,
    tidy: () => --this.slices > 0,
    hasLittleRoom: false,
    owesRoom: false,
    readNotes: () => this.notes,
    writeNotes: (notes) => {
      if (this.notesError) throw this.notesError
      this.notes = notes
    },
    close: () => {},
  }

  write(progress: MaintenanceProgress, byteCount: number): void {
    progress.clientWrote = true
    this.files.walBytesWritten += byteCount
    this.walBytes += byteCount
  }

  #answer(bytes: Uint8Array): Uint8Array {
    const statement =
      fromUtf8(bytes)
        .split('\0')
        .find((part) => / |checkpoint/.test(part)) ?? ''
    this.statements.push(statement)
    const ready = message('Z', utf8('I'))
    if (this.refuse !== undefined && statement.includes(this.refuse)) {
      return concatBytes([message('E', utf8('SERROR\0C42501\0Mpermission denied\0\0')), ready])
    }
    return concatBytes([...this.#rows(statement).map(dataRow), message('C', utf8('OK\0')), ready])
  }

  #rows(statement: string): readonly (string | null)[][] {
    if (statement === SETTINGS_SQL) return [SETTINGS]
    if (statement === WAL_BYTES_SQL) return [[String(this.walBytes)]]
    if (statement === 'checkpoint') this.walBytes = 0
    return statement.includes('pg_class') ? this.tables : []
  }
}

function row(oid: number, dead: number): (string | null)[] {
  return [`${oid}`, `public.t${oid}`, 'r', '0', '1', `${dead}`, '0', '0', 'f', 'f', '3', '0', null]
}

function work(upkeep: Upkeep, progress: MaintenanceProgress, tenant: Tenant): number {
  let steps = 1
  while (upkeep.step(progress, tenant.slot, tenant.open)) steps++
  return steps
}

/** Vacuums and checkpoints only. */
function deeds(tenant: Tenant): string[] {
  return tenant.statements.filter((each) => /^(vacuum|analyze|checkpoint)/.test(each))
}

test('one table per step, then the checkpoint, the notes and the slices of the store', () => {
  const tenant = new Tenant()
  tenant.tables = [row(1, 60), row(2, 10), row(3, 70)]
  tenant.slices = 3
  const upkeep = new Upkeep({ log: silentLog, clock: new ManualClock() })
  const progress = upkeep.begin(TENANT, tenant.open)
  tenant.write(progress, LIMITS.checkpointIdleBytes)
  const seen: number[] = []
  let more = true
  while (more) {
    const before = deeds(tenant).length
    more = upkeep.step(progress, tenant.slot, tenant.open)
    seen.push(deeds(tenant).length - before)
  }
  assert.deepEqual(deeds(tenant), ['vacuum public.t1', 'vacuum public.t3', 'checkpoint'])
  assert.ok(
    seen.every((count) => count <= 1),
    'a client waits for one of them at most',
  )
  assert.equal(tenant.slices, 0)
  assert.match(tenant.notes ?? '', /\[2,10,0,0\]/)
})

test('little WAL is left alone, and what a client writes meanwhile starts another round', () => {
  const tenant = new Tenant()
  const upkeep = new Upkeep({ log: silentLog, clock: new ManualClock() })
  const progress = upkeep.begin(TENANT, tenant.open)
  tenant.write(progress, LIMITS.checkpointIdleBytes - 1)
  const steps = work(upkeep, progress, tenant)
  assert.deepEqual(deeds(tenant), [])
  upkeep.step(progress, tenant.slot, tenant.open)
  tenant.write(progress, 1)
  assert.ok(work(upkeep, progress, tenant) > steps, 'the rest of this round and a whole one')
  assert.deepEqual(deeds(tenant), ['checkpoint'])
})

test('much WAL is urgent: the next step is a checkpoint, whatever the plan says', () => {
  const tenant = new Tenant()
  const upkeep = new Upkeep({ log: silentLog, clock: new ManualClock() })
  const progress = upkeep.begin(TENANT, tenant.open)
  tenant.write(progress, LIMITS.checkpointBusyBytes - 1)
  assert.equal(isUrgent(progress, tenant.open), false)
  tenant.write(progress, 1)
  assert.equal(isUrgent(progress, tenant.open), true)
  upkeep.step(progress, tenant.slot, tenant.open)
  assert.deepEqual(tenant.statements, [WAL_BYTES_SQL, 'checkpoint'])
  assert.equal(isUrgent(progress, tenant.open), false)
})

test('room that a store can give back is urgent where there is little on the disk', () => {
  const tenant = new Tenant()
  const upkeep = new Upkeep({ log: silentLog, clock: new ManualClock() })
  const progress = upkeep.begin(TENANT, tenant.open)
  assert.equal(isUrgent(progress, tenant.open), false)
  tenant.open.owesRoom = true
  assert.equal(isUrgent(progress, tenant.open), true)
  tenant.slices = 2
  assert.equal(upkeep.step(progress, tenant.slot, tenant.open), true)
  assert.deepEqual([tenant.slices, tenant.statements], [1, []])
  tenant.open.owesRoom = false
  tenant.open.hasLittleRoom = true
  tenant.write(progress, LIMITS.checkpointIdleBytes)
  assert.equal(isUrgent(progress, tenant.open), true)
  upkeep.step(progress, tenant.slot, tenant.open)
  assert.deepEqual(tenant.statements, [WAL_BYTES_SQL, 'checkpoint'])
  tenant.open.owesRoom = true
  // What gives nothing back does not keep upkeep from all the rest.
  upkeep.step(progress, tenant.slot, tenant.open)
  assert.ok(tenant.statements.length > 2)
})

test('what recovery wrote is no reason for a checkpoint', () => {
  const tenant = new Tenant()
  const upkeep = new Upkeep({ log: silentLog, clock: new ManualClock() })
  const progress = upkeep.begin(TENANT, tenant.open)
  tenant.write(progress, LIMITS.checkpointBusyBytes)
  tenant.walBytes = 1_000
  upkeep.step(progress, tenant.slot, tenant.open)
  assert.deepEqual(tenant.statements, [WAL_BYTES_SQL])
  assert.equal(isUrgent(progress, tenant.open), false)
})

test('counters survive leaving: in memory for this server, as notes for the next', () => {
  const tenant = new Tenant()
  tenant.tables = [row(1, 30)]
  const upkeep = new Upkeep({ log: silentLog, clock: new ManualClock() })
  const first = upkeep.begin(TENANT, tenant.open)
  tenant.write(first, 100)
  upkeep.leave(first, { slot: tenant.slot, open: tenant.open, hurried: true })
  assert.equal(tenant.notes, undefined, 'somebody is waiting')
  const second = upkeep.begin(TENANT, tenant.open)
  tenant.write(second, 100)
  upkeep.leave(second, { slot: tenant.slot, open: tenant.open, hurried: false })
  assert.match(tenant.notes ?? '', /\[1,60,0,0\]/)
  tenant.tables = [row(1, 0)]
  const restarted = new Upkeep({ log: silentLog, clock: new ManualClock() })
  work(restarted, restarted.begin(TENANT, tenant.open), tenant)
  assert.deepEqual(deeds(tenant), ['vacuum public.t1'])
})

test('a reader leaves without a query, a lost slot keeps what was known', () => {
  const tenant = new Tenant()
  tenant.notes = '{"version":1,"tables":[[1,40,0,0]]}'
  const upkeep = new Upkeep({ log: silentLog, clock: new ManualClock() })
  const reader = upkeep.begin(TENANT, tenant.open)
  upkeep.leave(reader, { slot: tenant.slot, open: tenant.open, hurried: true })
  assert.deepEqual(tenant.statements, [])
  const lost = upkeep.begin(TENANT, tenant.open)
  upkeep.lose(lost)
  assert.equal(upkeep.begin(TENANT, tenant.open).ledger.get(1)?.dead, 40)
  upkeep.lose(lost)
  upkeep.forget(TENANT)
  tenant.notes = undefined
  assert.equal(upkeep.begin(TENANT, tenant.open).ledger.size, 0)
})

test('a refusal ends the round, and one table that is gone does not stop the others', () => {
  const tenant = new Tenant()
  tenant.tables = [row(1, 60), row(2, 60)]
  tenant.refuse = 'public.t1'
  const upkeep = new Upkeep({ log: silentLog, clock: new ManualClock() })
  work(upkeep, upkeep.begin(TENANT, tenant.open), tenant)
  assert.deepEqual(deeds(tenant), ['vacuum public.t1', 'vacuum public.t2'])
  tenant.refuse = 'pg_class'
  assert.equal(work(upkeep, upkeep.begin(TENANT, tenant.open), tenant), 1)
})

test('notes that cannot be kept harm nobody; a slot that throws is reported', () => {
  const tenant = new Tenant()
  tenant.tables = [row(2, 10)]
  tenant.notesError = new PgnapError('STORE_FULL', 'disk full')
  const upkeep = new Upkeep({ log: silentLog, clock: new ManualClock() })
  work(upkeep, upkeep.begin(TENANT, tenant.open), tenant)
  const trap: Slot = {
    ...tenant.slot,
    run: () => {
      throw new Error('trap')
    },
  }
  const progress = upkeep.begin(TENANT, tenant.open)
  assert.throws(() => upkeep.step(progress, trap, tenant.open), /trap/)
})

/** The other thread's end: ends what `isAwaited` says. */
class Watcher implements UpkeepSign {
  readonly patience: number[] = []
  isAwaited = false
  running = false

  beginUpkeep(patienceMs: number): void {
    this.running = true
    this.patience.push(patienceMs)
  }

  endUpkeep(): boolean {
    this.running = false
    return this.isAwaited
  }
}

/** An upkeep whose statements another thread may end, and a tenant with two tables to vacuum. */
function watched(view?: PoolView): {
  readonly upkeep: Upkeep
  readonly tenant: Tenant
  readonly progress: MaintenanceProgress
  readonly sign: Watcher
  readonly clock: ManualClock
  readonly lines: string[]
} {
  const tenant = new Tenant()
  tenant.tables = [row(1, 60), row(2, 70)]
  const sign = new Watcher()
  const clock = new ManualClock()
  const lines: string[] = []
  const log: Log = { ...silentLog, info: (text) => void lines.push(text) }
  const upkeep = new Upkeep({ log, clock, sign, ...(view ? { view } : {}) })
  return { upkeep, tenant, progress: upkeep.begin(TENANT, tenant.open), sign, clock, lines }
}

test('what gives way is not settled: the others come first, and it is tried after a rest', () => {
  const { upkeep, tenant, progress, sign, clock, lines } = watched()
  const step = (): boolean => upkeep.step(progress, tenant.slot, tenant.open)
  assert.equal(step(), true)
  sign.isAwaited = true
  tenant.refuse = 'vacuum'
  assert.equal(step(), true)
  assert.equal(progress.notBeforeMs, clock.monotonicMs() + 1_000)
  assert.deepEqual(lines, ['upkeep gave way'])
  sign.isAwaited = false
  tenant.refuse = undefined
  work(upkeep, progress, tenant)
  assert.deepEqual(deeds(tenant), ['vacuum public.t1', 'vacuum public.t2', 'vacuum public.t1'])
  assert.deepEqual(sign.patience, [0, 0, 0])
  assert.equal(sign.running, false)
})

test('a cancel that comes too late changes nothing, and a refusal is no giving way', () => {
  const { upkeep, tenant, progress, sign, lines } = watched()
  sign.isAwaited = true
  work(upkeep, progress, tenant)
  assert.deepEqual(deeds(tenant), ['vacuum public.t1', 'vacuum public.t2'])
  const other = watched()
  other.tenant.refuse = 'public.t1'
  work(other.upkeep, other.progress, other.tenant)
  assert.deepEqual(deeds(other.tenant), ['vacuum public.t1', 'vacuum public.t2'])
  assert.deepEqual([lines, other.lines], [[], ['upkeep was refused']])
})

test('a slot that throws leaves no sign that upkeep runs, nor commits in small parts', () => {
  const { upkeep, tenant, progress, sign } = watched()
  upkeep.step(progress, tenant.slot, tenant.open)
  let midwayBytes = 0
  const run = (): never => {
    midwayBytes = tenant.files.midwayBytesMax
    throw new Error('trap')
  }
  assert.throws(() => upkeep.step(progress, { ...tenant.slot, run }, tenant.open), /trap/)
  assert.equal(midwayBytes, LIMITS.upkeepCommitBytes)
  assert.equal(tenant.files.midwayBytesMax, Number.POSITIVE_INFINITY)
  assert.equal(sign.running, false)
})

test('without patience it begins only while nobody else is busy', () => {
  const state = new PoolState({ ...LIMITS, slotsPerShard: 1, spareSlots: 0 })
  const busy = state.tenant('busy' as TenantName)
  const slot = new SlotEntry(0)
  state.slots.add(slot)
  slot.tenant = busy
  const { upkeep, tenant, progress, clock } = watched(state)
  const step = (): boolean => upkeep.step(progress, tenant.slot, tenant.open)
  step()
  busy.lastUsedMs = clock.monotonicMs() - LIMITS.slotQuietMs + 1
  step()
  assert.deepEqual(deeds(tenant), [])
  assert.ok(progress.notBeforeMs < clock.monotonicMs() + LIMITS.slotQuietMs)
  clock.advance(LIMITS.slotQuietMs)
  step()
  assert.deepEqual(deeds(tenant), ['vacuum public.t2'])
})
