/**
 * Random swaps: four tenants over three slots, each against a model of what it must say, some of
 * them in the middle of a transaction. Slots are compared with the base after each swap. A failure
 * names its seed: PGNAP_SEED=... runs it again.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { before, test } from 'node:test'
import type { SlotImage } from '../../src/engine/slot-image.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { Store } from '../../src/store/store.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { verifyingEngine } from '../support/image-world.ts'
import { runSql, say, valueOf } from '../support/messages.ts'
import { storeOptions } from '../support/store-options.ts'

const SEED = Number(process.env['PGNAP_SEED'] ?? 20_261_121)
const SWAPS = 300
const CHECK = `select count(*) || ' ' || coalesce(sum(n), 0) || ' ' ||
  coalesce(md5(string_agg(n || t, ',' order by n)), '') from r`

let engine: WasmEngine

before(async () => {
  engine = await verifyingEngine()
})

/** mulberry32. */
function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let value = Math.imul(state ^ (state >>> 15), state | 1)
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61)
    return Math.floor((((value ^ (value >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

class Tenant {
  readonly id: number
  readonly store: Store = Store.open(NodeSqliteMedium.inMemory(), storeOptions(engine.template))
  files: TenantFiles = this.openFiles()
  slot: WasmSlot | undefined
  image: { readonly image: SlotImage; readonly stamp: string } | undefined
  rows = new Map<number, string>()
  /** Rows as they were when the open transaction began. */
  saved: Map<number, string> | undefined
  sequence = 0
  setting: string
  next = 1

  constructor(id: number) {
    this.id = id
    this.setting = `start ${id}`
  }

  openFiles(): TenantFiles {
    return TenantFiles.open(this.store.view(), {
      template: this.store.template,
      clock: systemClock,
    })
  }

  enter(slot: WasmSlot): void {
    this.slot = slot
    if (!this.image) {
      slot.begin(this.files)
      return this.say(`create table r(n int primary key, t text); create sequence s;
        create table own_${this.id}(n int); listen channel_${this.id};
        create function f(n int) returns int as $$ begin return n * ${this.id + 2}; end $$
          language plpgsql; prepare p as select ${this.id} * 1000 + count(*) from r;
        set my.setting = '${this.setting}'`)
    }
    assert.equal(this.store.stamp(), this.image.stamp, 'nobody wrote while it was away')
    slot.resume(this.files, this.image.image)
    this.image = undefined
  }

  leave(reopen: boolean): void {
    assert.ok(this.slot)
    this.files.commit()
    this.image = { image: this.slot.nap(), stamp: this.store.stamp() }
    this.slot = undefined
    // As the pool does when it closes the store of a tenant that naps.
    if (!reopen || this.files.irreplaceable) return
    this.files.close()
    this.files = this.openFiles()
  }

  say(sql: string): void {
    assert.ok(this.slot)
    const { error } = runSql(this.slot, sql)
    assert.equal(error, undefined, `${sql}: ${error?.message}`)
    this.files.commit()
  }

  value(sql: string): string | null | undefined {
    assert.ok(this.slot)
    const value = valueOf(this.slot, sql)
    this.files.commit()
    return value
  }

  check(): void {
    const rows = [...this.rows].toSorted(([a], [b]) => a - b)
    const text = rows.map(([n, t]) => `${n}${t}`).join(',')
    const md5 = rows.length > 0 ? createHash('md5').update(text).digest('hex') : ''
    const sum = rows.reduce((total, [n]) => total + n, 0)
    assert.equal(this.value(CHECK), `${rows.length} ${sum} ${md5}`)
    this.say('set enable_seqscan = off; set enable_bitmapscan = off')
    assert.equal(this.value('select count(*) from r where n > -1'), String(rows.length), 'index')
    this.say('reset enable_seqscan; reset enable_bitmapscan')
    assert.equal(this.value('execute p'), String(this.id * 1000 + rows.length))
    assert.equal(this.value('select f(7)'), String(7 * (this.id + 2)))
    assert.equal(this.value('show my.setting'), this.setting)
    const channels = `select string_agg(c, ' ') from pg_listening_channels() c`
    assert.equal(this.value(channels), `channel_${this.id}`)
    const others = `select string_agg(relname, ' ') from pg_class where relname like 'own%'`
    assert.equal(this.value(others), `own_${this.id}`, "no other tenant's table")
    assert.equal(this.slot?.transactionStatus, this.saved ? 'transaction' : 'idle')
  }
}

type Step = (tenant: Tenant, random: (below: number) => number) => void

const insert: Step = (tenant, random) => {
  const [from, count] = [tenant.next, 1 + random(200)]
  tenant.next += count
  const text = `${random(1e9)}`.repeat(1 + random(20))
  tenant.say(
    `insert into r select n, '${text}' from generate_series(${from}, ${tenant.next - 1}) n`,
  )
  for (let n = from; n < tenant.next; n++) tenant.rows.set(n, text)
}

const update: Step = (tenant, random) => {
  const [by, text] = [2 + random(9), `u${random(1e6)}`]
  tenant.say(`update r set t = '${text}' where n % ${by} = 0`)
  for (const n of tenant.rows.keys()) if (n % by === 0) tenant.rows.set(n, text)
}

const remove: Step = (tenant, random) => {
  const by = 2 + random(5)
  tenant.say(`delete from r where n % ${by} = 1`)
  for (const n of tenant.rows.keys()) if (n % by === 1) tenant.rows.delete(n)
}

const sequence: Step = (tenant) => {
  assert.equal(tenant.value(`select nextval('s')`), String(++tenant.sequence))
}

const setting: Step = (tenant, random) => {
  // In a transaction it would go back with it.
  if (tenant.saved) return
  tenant.setting = `v${random(1e9)}`
  tenant.say(`set my.setting = '${tenant.setting}'`)
}

const refused: Step = (tenant) => {
  if (tenant.saved) tenant.say('savepoint before')
  assert.ok(tenant.slot && runSql(tenant.slot, 'insert into r select 1 / 0').error)
  if (tenant.saved) tenant.say('rollback to before')
}

const transaction: Step = (tenant, random) => {
  if (!tenant.saved) {
    tenant.say('begin')
    tenant.saved = new Map(tenant.rows)
  } else {
    const rollback = random(3) === 0
    tenant.say(rollback ? 'rollback' : 'commit')
    if (rollback) tenant.rows = tenant.saved
    tenant.saved = undefined
  }
}

const upkeep: Step = (tenant, random) => {
  if (!tenant.saved) tenant.say(random(2) === 0 ? 'vacuum r' : 'checkpoint')
}

const ddl: Step = (tenant, random) => {
  const kinds = [
    'create index i on r(t); drop index i',
    'truncate own',
    'create temp table x(n int)',
  ]
  const kind = random(3)
  if (kind === 1) tenant.say(`truncate own_${tenant.id}; insert into own_${tenant.id} values (1)`)
  else if (kind === 2) tenant.say('create temp table x as select * from r; drop table x')
  else tenant.say(kinds[0] ?? '')
}

const extended: Step = (tenant) => {
  assert.ok(tenant.slot)
  const answer = tenant.slot.run(
    Buffer.concat([
      say.parse('', 'select $1::int'),
      say.bind('', '', ['5']),
      say.execute(''),
      say.sync(),
    ]),
  )
  assert.ok(Buffer.from(answer).includes('5'))
}

const STEPS = [
  insert,
  insert,
  update,
  remove,
  sequence,
  setting,
  refused,
  transaction,
  upkeep,
  ddl,
  extended,
]

test(`${SWAPS} random swaps over 4 tenants and 3 slots, seed ${SEED}`, async () => {
  const random = randomOf(SEED)
  const slots = await Promise.all([0, 1, 2].map(() => engine.createSlot()))
  const tenants = [0, 1, 2, 3].map((id) => new Tenant(id))
  let open = 0
  for (let swap = 0; swap < SWAPS;) {
    const tenant = tenants[random(4)]
    const slot = slots[random(3)]
    assert.ok(tenant && slot)
    if (!tenant.slot || random(4) === 0) {
      swap++
      if (tenant.slot) tenant.leave(random(2) === 0)
      tenants.find((other) => other.slot === slot)?.leave(random(2) === 0)
      if (tenant.image?.image.status === 'transaction') open++
      tenant.enter(slot)
      tenant.check()
    }
    for (let steps = random(3); steps > 0; steps--) STEPS[random(STEPS.length)]?.(tenant, random)
  }
  assert.ok(open > 20, `${open} swaps of open transactions`)
  for (const tenant of tenants) {
    if (tenant.slot) tenant.leave(true)
  }
  // What recovery makes of the same files is the same, and the store is sound.
  for (const tenant of tenants) {
    const slot = await engine.createSlot()
    tenant.enter(slot)
    if (tenant.saved) transaction(tenant, random)
    const expected = tenant.value(CHECK)
    // Postgres promises numbers of a sequence once a commit has come after them.
    tenant.say(`insert into own_${tenant.id} values (1)`)
    slot.unload()
    slot.boot(tenant.files)
    tenant.slot = slot
    assert.equal(tenant.value(CHECK), expected)
    tenant.say('reindex table r')
    assert.equal(tenant.value(CHECK), expected)
    assert.ok(Number(tenant.value(`select nextval('s')`)) > tenant.sequence)
    assert.deepEqual(tenant.store.verify(), [])
  }
})
