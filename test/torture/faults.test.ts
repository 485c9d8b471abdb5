/**
 * Disks that fail: pool, engine and store as they are shipped, on a medium that fails at a chosen
 * operation. A workload is recorded once; then it runs again and again, each time with one fault,
 * at every commit and at operations chosen by the seed. Each time the client must be told the
 * right SQLSTATE, and the next request must find exactly what was acknowledged.
 */
import { keptBytes } from '../../src/base/bytes.ts'
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { ManualClock } from '../../src/base/clock.ts'
import { PgnapError } from '../../src/base/errors.ts'
import type { TenantName } from '../../src/base/ids.ts'
import { LIMITS } from '../../src/base/limits.ts'
import { silentLog } from '../../src/base/log.ts'
import { SeededRandom } from '../../src/base/random.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import { queryMessage, readAnswer } from '../../src/front/wire/result.ts'
import { createEngine, loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { StoreFactory } from '../../src/host/node/store-factory.ts'
import { storePath } from '../../src/host/node/tenant-files-on-disk.ts'
import type { MediumFault, MediumOperation } from '../../src/medium/faulty-medium.ts'
import type { Medium } from '../../src/medium/medium.ts'
import { SYNC } from '../../src/base/protocol-message.ts'
import type { PoolClient } from '../../src/pool/pool-client.ts'
import { Pool } from '../../src/pool/pool.ts'
import { FaultyDisk } from './faulty-disk.ts'
import { bigText } from './operations/operation.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const SEED = 4
/**
 * Faults at operations that the seed chooses, beside one before and one after each commit. With
 * PGNAP_FAULTS=all there is one before and one after every operation; that takes minutes.
 */
const SAMPLES: Readonly<Record<Exclude<MediumOperation, 'commit' | 'exec'>, number>> = {
  begin: 6,
  run: 24,
  get: 16,
  all: 8,
  checkpoint: 4,
  compact: 4,
  sync: 12,
}
/** What it takes to open a store and its files, at least; the next ones are recovery's. */
const OPENING_OPERATIONS_MIN = 10
const SQL_STATES = { STORE_IO: '58030', STORE_FULL: '53100' } as const
/** Long values by their hash, so that a difference can be read. */
const READ_ROWS = `select id, case when length(value) > 99 then md5(value) else value end
  from t order by id`
const IDLE_MS = 1_000
const NAP_MS = 10_000

/**
 * What a tenant holds: the values (or their hashes) of table t by id, and whether table extra is
 * there.
 */
interface Model {
  readonly rows: ReadonlyMap<number, string>
  readonly extra: boolean
}

/** One piece of work: messages of which the last one makes it count. */
interface Step {
  readonly messages: readonly string[]
  readonly after: (model: Model) => Model
  /** What happens before the messages: idle time in milliseconds, or the tenant leaves its slot. */
  readonly first?: 'nap' | number
}

const folder = temporaryFolder()
const tenantsPath = join(folder.path, 'tenants')
const basePath = join(folder.path, 'base.db')
const clock = new ManualClock()
const steps = workload(new SeededRandom(SEED))
const START: Model = {
  rows: new Map(Array.from({ length: 40 }, (_, index) => [index + 1, `row ${index + 1}`])),
  extra: false,
}
let engine: WasmEngine
let pool: Pool
/** Who uses the thread before each message, so that commits do not wait for their sync. */
let neighbour: PoolClient | undefined
/** By the path of the store. */
const disks = new Map<string, FaultyDisk>()

function newPool(imageCacheBytes: number, slotsPerShard = 1): Pool {
  const onDisk = (path: string): Medium => {
    const medium = new NodeSqliteMedium(path)
    return disks.get(path)?.open(medium) ?? medium
  }
  const limits = { slotsPerShard, spareSlots: 0, slotQuantumMs: 0, slotBusyMs: 0, slotRetryMs: 0 }
  const source = newFactory(onDisk)
  return new Pool({ engine, source, clock, log: silentLog, limits, imageCacheBytes })
}

before(async () => {
  mkdirSync(tenantsPath)
  engine = await createEngine(await loadEngineParts(), {
    clock,
    random: new SeededRandom(SEED),
    verifySwaps: true,
  })
  pool = newPool(0)
  const { tenant } = newPatient()
  const client = pool.connect(tenant)
  const values = [...START.rows].map(([id, value]) => `(${id}, '${value}')`).join()
  await ask(
    client,
    `create table t(id int primary key, value text); insert into t values ${values}`,
  )
  client.close()
  pool.nap(tenant)
  copyFileSync(storePath(tenantsPath, tenant), basePath)
})

after(async () => {
  await pool.drain(0)
  folder[Symbol.dispose]()
})

function workload(random: SeededRandom): readonly Step[] {
  const big = bigText(random)
  const set = (id: number, value: string) => (model: Model) => withValues(model, [[id, value]])
  return [
    { messages: [`insert into t values (100, 'one')`], after: set(100, 'one') },
    { messages: [`update t set value = 'two' where id = 100`], after: set(100, 'two') },
    {
      messages: [
        'begin',
        `insert into t values (101, 'a')`,
        `update t set value = 'b' where id = 1`,
        'savepoint s',
        'delete from t',
        'rollback to savepoint s',
        'commit',
      ],
      after: (model) =>
        withValues(model, [
          [101, 'a'],
          [1, 'b'],
        ]),
    },
    { messages: ['begin', `insert into t values (102, 'gone')`, 'rollback'], after: same },
    { messages: [`insert into t values (103, '${big}')`], after: set(103, hash('md5', big)) },
    { messages: ['create table extra(n int primary key)'], after: withExtra(true) },
    { messages: ['checkpoint'], after: same },
    { first: 'nap', messages: [`insert into t values (104, 'x')`], after: set(104, 'x') },
    {
      messages: [`delete from t where id < 38; update t set value = 'all' where id < 100`],
      after: ({ rows, extra }) => {
        const left = [...rows].filter(([id]) => id >= 38)
        return { rows: new Map(left.map(([id, value]) => [id, id < 100 ? 'all' : value])), extra }
      },
    },
    { first: IDLE_MS, messages: ['vacuum full t'], after: same },
    { messages: ['begin', 'drop table extra', 'commit'], after: withExtra(false) },
    { first: NAP_MS + 1, messages: [`insert into t values (105, 'y')`], after: set(105, 'y') },
    { first: IDLE_MS, messages: [`insert into t values (106, 'z')`], after: set(106, 'z') },
  ]
}

function same(model: Model): Model {
  return model
}

function withExtra(extra: boolean): Step['after'] {
  return (model) => ({ ...model, extra })
}

function withValues(model: Model, put: readonly (readonly [number, string])[]): Model {
  return { ...model, rows: new Map([...model.rows, ...put]) }
}

/** One tenant for one run, and its disk. */
interface Patient {
  readonly tenant: TenantName
  readonly disk: FaultyDisk
}

function newPatient(fault?: MediumFault): Patient {
  const tenant = `t${disks.size}` as TenantName
  const disk = new FaultyDisk(fault)
  disks.set(storePath(tenantsPath, tenant), disk)
  return { tenant, disk }
}

function newFactory(openMedium: (path: string) => Medium): StoreFactory {
  return new StoreFactory({
    dataPath: folder.path,
    tenantsPath,
    clock,
    engine,
    retentionMs: 0,
    createMissing: true,
    openMedium,
  })
}

/** Runs one message; rejects with what pgnap or Postgres said no with. */
async function ask(client: PoolClient, sql: string): Promise<readonly (string | null)[][]> {
  const { error, result } = readAnswer(await keptBytes(client.run(queryMessage(sql), true)))
  if (error) throw error
  return result.rows.map((row) => [...row])
}

async function readModel(client: PoolClient): Promise<Model> {
  const rows = await ask(client, READ_ROWS)
  const [[extra] = []] = await ask(client, `select to_regclass('extra') is not null`)
  return {
    rows: new Map(rows.map(([id, value]) => [Number(id), value ?? ''])),
    extra: extra === 't',
  }
}

interface Sessions {
  readonly client: PoolClient
  /** What clients were sent away with. */
  readonly lost: readonly string[]
}

/** What came of one run. */
interface Outcome {
  readonly disk: FaultyDisk
  /** Whether a client was told. */
  readonly told: boolean
  /** Whether a slot was dropped with nobody to tell: in the shutdown of a nap. */
  readonly dropped: boolean
}

/** The workload with one fault, checked after every step; none without `fault`. */
async function treat(fault?: MediumFault): Promise<Outcome> {
  const { tenant, disk } = newPatient(fault)
  const path = storePath(tenantsPath, tenant)
  copyFileSync(basePath, path)
  // Whose session went with an image or a slot is sent away, and comes again.
  const connect = (): PoolClient => pool.connect(tenant, { lost: () => (client = connect()) })
  let client = connect()
  const now = (): PoolClient => client
  const lostAtStart = lossCount()
  let model = START
  let told = false
  for (const step of steps) {
    if (step.first === 'nap') pool.nap(tenant)
    else if (step.first !== undefined) clock.advance(step.first)
    const lostBefore = lossCount()
    const failure = await attempt(now, step)
    if (failure) {
      assert.ok(fault && !told, `a step fails once, and by a fault: ${failure.error.message}`)
      told = true
      assert.equal(failure.error.sqlState, SQL_STATES[fault.code ?? 'STORE_IO'])
      assert.equal(client.transactionStatus, 'idle')
      assert.equal(lossCount(), lostBefore + 1, 'the slot is dropped')
      const found = await readModel(client)
      const unheard = fault.operation === 'sync' || fault.moment === 'after'
      const mayCount = failure.atLast && isEndOfCommit(fault) && unheard
      if (!mayCount || !isDeepStrictEqual(found, sorted(step.after(model)))) {
        assert.deepEqual(found, sorted(model), 'the next request finds what was acknowledged')
        assert.equal(await attempt(now, step), undefined, 'the same step works now')
      }
    }
    model = step.after(model)
  }
  let found: Model
  try {
    found = await readModel(client)
  } catch (error) {
    // Pages that no step has asked for are read here first: the fault may wait for this.
    assert.ok(fault && !told && error instanceof PgnapError, 'reading fails once, and by a fault')
    told = true
    assert.equal(error.sqlState, SQL_STATES[fault.code ?? 'STORE_IO'])
    found = await readModel(client)
  }
  assert.deepEqual(found, sorted(model))
  client.close()
  pool.nap(tenant)
  using store = newFactory((file) => new NodeSqliteMedium(file)).openStore(tenant)
  assert.deepEqual(store.verify(), [])
  return { disk, told, dropped: !told && lossCount() > lostAtStart }
}

function isEndOfCommit({ operation }: MediumFault): boolean {
  return operation === 'commit' || operation === 'sync'
}

function lossCount(): number {
  const { slots, bootFailures } = pool.statistics()
  return slots.lost + bootFailures
}

interface Failure {
  readonly error: PgnapError
  /** Whether it was the message that makes the step count. */
  readonly atLast: boolean
}

/**
 * Runs a step; what pgnap said no with, if it did. What Postgres refuses fails the test.
 * @param client the connection that there is when a message is sent
 */
async function attempt(client: () => PoolClient, { messages }: Step): Promise<Failure | undefined> {
  for (const [index, sql] of messages.entries()) {
    try {
      await neighbour?.run(queryMessage('select 1'), true)
      await ask(client(), sql)
    } catch (error) {
      if (!(error instanceof PgnapError)) throw error
      return { error, atLast: index === messages.length - 1 }
    }
  }
  return undefined
}

function sorted({ rows, extra }: Model): Model {
  return { rows: new Map([...rows].toSorted(([a], [b]) => a - b)), extra }
}

/** Faults at every commit, before and after it, and at a sample of all other operations. */
function plannedFaults(recorded: FaultyDisk): readonly MediumFault[] {
  const random = new SeededRandom(SEED)
  const faults: MediumFault[] = []
  const add = (operation: MediumOperation, nth: number, moment: MediumFault['moment']): void => {
    const code = faults.length % 2 === 0 ? 'STORE_IO' : 'STORE_FULL'
    faults.push({ operation, nth, moment, effect: 'fail', code })
  }
  const addAll = (operation: MediumOperation): void => {
    for (let nth = 1; nth <= recorded.count(operation); nth++) {
      add(operation, nth, 'before')
      add(operation, nth, 'after')
    }
  }
  addAll('commit')
  for (const [name, sampleCount] of Object.entries(SAMPLES)) {
    const operation = name as MediumOperation
    const count = recorded.count(operation)
    if (process.env['PGNAP_FAULTS'] === 'all') {
      addAll(operation)
      continue
    }
    for (let index = 0; index < Math.min(sampleCount, count); index++) {
      add(operation, 1 + random.below(count), random.below(2) === 0 ? 'before' : 'after')
    }
  }
  return faults
}

for (const [naps, imageCacheBytes] of [
  ['images', LIMITS.imageCacheBytes],
  ['shutdowns', 0],
] as const) {
  test(`one failure of the disk costs one error, nothing acknowledged; naps are ${naps}`, () =>
    failOnce(imageCacheBytes))
}

test('one failure of the disk costs one error, also if others use the thread', async () => {
  await pool.drain(0)
  pool = newPool(LIMITS.imageCacheBytes, 2)
  neighbour = pool.connect(newPatient().tenant)
  const { recorded } = await failAtEach()
  assert.ok(recorded.count('sync') > steps.length / 2, 'syncs are left for later')
  neighbour = undefined
})

async function failOnce(imageCacheBytes: number): Promise<void> {
  await pool.drain(0)
  pool = newPool(imageCacheBytes)
  const { recorded, dropped } = await failAtEach()
  assert.equal(recorded.count('sync'), 0, 'who is alone waits on the spot')
  if (imageCacheBytes === 0) assert.ok(dropped > 0, 'naps are struck too')
}

/** Runs the workload with each of the planned faults. */
async function failAtEach(): Promise<{ recorded: FaultyDisk; dropped: number }> {
  const { disk: recorded } = await treat()
  const faults = plannedFaults(recorded)
  assert.ok(recorded.count('commit') >= steps.length, 'the workload commits')
  let struck = 0
  let told = 0
  let dropped = 0
  for (const fault of faults) {
    try {
      const outcome = await treat(fault)
      if (outcome.disk.hasFailed) struck++
      if (outcome.told) told++
      if (outcome.dropped) dropped++
    } catch (error) {
      const { moment, operation, nth, code } = fault
      throw new Error(`${code} ${moment} ${operation} ${nth}`, { cause: error })
    }
  }
  assert.ok(struck > faults.length * 0.9, `${struck} of ${faults.length} faults have struck`)
  // The others are in housekeeping, which is tried again.
  assert.ok(told + dropped > struck / 2, `clients were told of ${told}, ${dropped} were in naps`)
  return { recorded, dropped }
}

test('a disk that fails while a tenant is opened does not keep it closed', async () => {
  const { tenant: first, disk: recorded } = newPatient()
  copyFileSync(basePath, storePath(tenantsPath, first))
  await pool.wake(first)
  const operations = recorded.count()
  pool.nap(first)
  assert.ok(operations > OPENING_OPERATIONS_MIN, `${operations} operations wake a tenant`)
  for (let nth = 1; nth <= operations; nth++) {
    const moment = nth % 2 === 0 ? 'before' : 'after'
    const { tenant } = newPatient({ operation: 'any', nth, moment, effect: 'fail' })
    copyFileSync(basePath, storePath(tenantsPath, tenant))
    await assert.rejects(pool.wake(tenant), { code: 'STORE_IO', sqlState: '58030' }, `at ${nth}`)
    await pool.wake(tenant)
    pool.nap(tenant)
  }
})

test('a disk that fails while a napping tenant is opened costs nobody a session', async () => {
  await pool.drain(0)
  pool = newPool(LIMITS.imageCacheBytes)
  /** A tenant that naps with its store closed, and a client that has set something up in it. */
  const patientWithSession = async (fault?: MediumFault): Promise<Patient & Sessions> => {
    const patient = newPatient(fault)
    const { tenant } = patient
    copyFileSync(basePath, storePath(tenantsPath, tenant))
    // The one before is no neighbour any more: the same operations follow each time.
    clock.advance(1_000)
    const lost: string[] = []
    const client = pool.connect(tenant, { lost: ({ code }) => lost.push(code) })
    await ask(client, 'create temp table mine(n int); insert into mine values (1)')
    pool.nap(tenant)
    assert.equal(pool.phaseOf(tenant), 'napping')
    return { ...patient, client, lost }
  }
  const { disk: recorded, client } = await patientWithSession()
  const before = recorded.count()
  // The next operations are Postgres's own, when it reads pages.
  await keptBytes(client.run(SYNC, true))
  const opening = recorded.count() - before
  client.close()
  assert.ok(opening > 5, `${opening} operations open a store`)
  for (let index = 0; index < 2 * opening; index++) {
    const nth = before + 1 + Math.floor(index / 2)
    const moment = index % 2 === 0 ? 'before' : 'after'
    const fault = { operation: 'any', nth, moment, effect: 'fail' } as const
    const { client: asker, lost, tenant } = await patientWithSession(fault)
    const at = `${moment} ${nth}`
    await assert.rejects(ask(asker, 'table mine'), { code: 'STORE_IO' }, at)
    assert.equal(asker.mayGoOn, true, at)
    assert.equal(pool.phaseOf(tenant), 'napping', at)
    assert.deepEqual(await ask(asker, 'table mine'), [['1']], at)
    assert.deepEqual(lost, [], at)
    asker.close()
    pool.nap(tenant)
  }
})
