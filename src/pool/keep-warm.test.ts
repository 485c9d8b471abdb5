/** The pool and its policy of keeping warm together, over a faked engine, stores and disk. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../base/bytes.ts'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { silentLog } from '../base/log.ts'
import { FakeEngine, FakeStores } from '../../test/support/fake-shard.ts'
import type { PoolClient } from './pool-client.ts'
import { Pool } from './pool.ts'
import type { ImageAhead, ImageStore, StoredImage } from './tenant-source.ts'

const HOUR_MS = 3_600_000
/** Of the images that the fake engine makes; an open store counts on top. */
const IMAGE_BYTES = 1_000
const OPEN_STORE_BYTES = 300_000

class FakeDisk implements ImageStore {
  readonly images: Map<string, StoredImage> = new Map()
  reads = 0
  writes = 0
  /** Holds every reading ahead up until it is called. */
  held: PromiseWithResolvers<void> | undefined = undefined

  /** Nothing that was read ahead can be removed. */
  stuck = false
  readonly keepsAny: boolean = true

  take(tenant: TenantName): StoredImage | undefined {
    const image = this.images.get(tenant)
    this.images.delete(tenant)
    return image
  }

  async readAhead(tenant: TenantName): Promise<ImageAhead | undefined> {
    this.reads++
    const stored = this.images.get(tenant)
    await this.held?.promise
    if (!stored) return undefined
    const claim = (): boolean =>
      !this.stuck && this.images.get(tenant) === stored && this.images.delete(tenant)
    return { stored, claim }
  }

  async write(tenant: TenantName, image: StoredImage): Promise<boolean> {
    this.writes++
    this.images.set(tenant, image)
    return true
  }

  remove(tenant: TenantName): void {
    this.images.delete(tenant)
  }

  letGo(): void {}
}

class Stores extends FakeStores {
  readonly images: FakeDisk = new FakeDisk()
  readonly gone: Set<string> = new Set()

  exists(tenant: TenantName): boolean {
    return !this.gone.has(tenant)
  }
}

class NappingEngine extends FakeEngine {
  override async createSlot(): ReturnType<FakeEngine['createSlot']> {
    const slot = await super.createSlot()
    for (const each of this.slots) each.canNap = true
    return slot
  }
}

class Bench {
  readonly engine: NappingEngine = new NappingEngine()
  readonly stores: Stores = new Stores()
  readonly clock: ManualClock = new ManualClock()
  readonly pool: Pool
  #others = 0

  constructor(options: { readonly imageCacheBytes?: number; readonly keepWarm?: boolean } = {}) {
    const { engine, stores: source, clock } = this
    const limits = { slotsPerShard: 2, spareSlots: 1, slotQuietMs: 1 }
    this.pool = new Pool({ engine, source, clock, log: silentLog, limits, ...options })
  }

  get disk(): FakeDisk {
    return this.stores.images
  }

  /** Time passes, and whatever is ready goes on. */
  async pass(ms: number): Promise<void> {
    const step = Math.min(ms, 10_000)
    for (let left = ms; left > 0; left -= step) {
      this.clock.advance(Math.min(step, left))
      for (let turn = 0; turn < 20; turn++) await Promise.resolve()
    }
  }

  async ask(client: PoolClient, word: string): Promise<void> {
    const answer = Promise.resolve(client.run(utf8(word), true))
    await this.pass(1)
    await answer
  }

  /** One request of a client that comes and goes. */
  async visit(tenant: string): Promise<void> {
    const client = this.pool.connect(tenant as TenantName)
    await this.ask(client, 'hello')
    client.close()
  }

  phase(tenant: string): string {
    return this.pool.phaseOf(tenant as TenantName)
  }

  /** Others push the image of whoever is not pinned out to disk. */
  async crowd(): Promise<void> {
    for (let count = 0; count < 6; count++) await this.visit(`other${this.#others++}`)
    await this.pass(20_000)
  }
}

/** Memory for four images with their stores. */
const FOUR = { imageCacheBytes: 4 * (IMAGE_BYTES + OPEN_STORE_BYTES) }

/** A bench on which `acme` has come every hour, and whose image is on disk now. */
async function regular(options = {}): Promise<Bench> {
  const bench = new Bench({ ...FOUR, ...options })
  await bench.pass(1_000)
  for (let visit = 0; visit < 6; visit++) {
    await bench.visit('acme')
    await bench.crowd()
    await bench.pass(HOUR_MS - 40_000)
  }
  await bench.visit('acme')
  await bench.crowd()
  return bench
}

test('a regular tenant is in memory when it comes, without a slot', async () => {
  const bench = await regular()
  assert.ok(bench.disk.images.has('acme'))
  const before = bench.pool.statistics()
  const bootsBefore = bench.engine.log.length
  await bench.pass(HOUR_MS - 80_000)
  assert.equal(bench.phase('acme'), 'napping')
  assert.equal(bench.engine.log.length, bootsBefore, 'no slot was touched')
  assert.equal(bench.disk.images.has('acme'), false, 'it is in memory and nowhere else')
  await bench.visit('acme')
  const after = bench.pool.statistics()
  assert.equal(after.found.napping - before.found.napping, 1)
  assert.equal(after.keepWarm.hits - before.keepWarm.hits, 1)
  assert.ok(after.keepWarm.warmed >= after.keepWarm.hits)
})

test('without learning nothing is brought back', async () => {
  const bench = await regular({ keepWarm: false })
  await bench.pass(2 * HOUR_MS)
  assert.equal(bench.disk.reads, 0)
  assert.deepEqual(bench.pool.statistics().keepWarm.known, 0)
})

test('who does not come leaves memory again, back to disk', async () => {
  const bench = await regular()
  await bench.pass(HOUR_MS - 80_000)
  assert.equal(bench.phase('acme'), 'napping')
  const { writes } = bench.disk
  await bench.pass(300_000)
  assert.equal(bench.phase('acme'), 'cold', 'unknown to the pool, as who sleeps is')
  assert.equal(bench.disk.writes, writes + 1)
  assert.ok(bench.disk.images.has('acme'))
  assert.equal(bench.pool.statistics().keepWarm.wasted, 1)
})

test('an image that is older than a wake is not brought back', async () => {
  const bench = await regular()
  const lostBefore = bench.pool.statistics().images.sessionsLost
  bench.disk.held = Promise.withResolvers()
  await bench.pass(HOUR_MS - 80_000)
  const client = bench.pool.connect('acme' as TenantName)
  await bench.ask(client, 'write')
  bench.pool.nap('acme' as TenantName)
  assert.equal(bench.phase('acme'), 'napping')
  bench.disk.held.resolve()
  bench.disk.held = undefined
  await bench.pass(1_000)
  await bench.ask(client, 'write')
  assert.equal(bench.engine.log.at(-2), 'resume acme')
  assert.equal(bench.pool.statistics().images.sessionsLost, lostBefore)
})

test('nor one that is older than a wake after which the tenant sleeps again', async () => {
  const bench = await regular()
  const { held } = Object.assign(bench.disk, { held: Promise.withResolvers<void>() })
  await bench.pass(HOUR_MS - 80_000)
  await bench.visit('acme')
  await bench.crowd()
  assert.ok(bench.disk.images.has('acme'))
  held.resolve()
  bench.disk.held = undefined
  await bench.pass(1_000)
  assert.equal(bench.phase('acme'), 'cold', 'unknown to the pool, as who sleeps is')
})

test('an image that cannot be taken from disk is not used', async () => {
  const bench = await regular()
  bench.disk.stuck = true
  const { reads } = bench.disk
  await bench.pass(HOUR_MS - 80_000)
  assert.ok(bench.disk.reads > reads)
  // In a slot it is taken as by any wake.
  assert.deepEqual(bench.engine.log.slice(-2), ['resume acme', 'nap acme'])
  assert.equal(bench.disk.images.has('acme'), false)
})

test('a tenant that moves to another pool meanwhile is not brought back', async () => {
  const bench = await regular()
  const { warmed } = bench.pool.statistics().keepWarm
  bench.disk.held = Promise.withResolvers()
  await bench.pass(HOUR_MS - 80_000)
  assert.ok(await bench.pool.resting.release('acme' as TenantName))
  bench.disk.held.resolve()
  await bench.pass(1_000)
  assert.equal(bench.phase('acme'), 'cold')
  assert.equal(bench.pool.statistics().keepWarm.warmed, warmed)
})

test('a tenant that was deleted meanwhile is not made again', async () => {
  const bench = await regular()
  bench.stores.gone.add('acme')
  await bench.pass(2 * HOUR_MS)
  assert.equal(bench.phase('acme'), 'cold')
  await bench.pool.expel('acme' as TenantName, new PgnapError('TENANT_UNKNOWN', 'gone'))
  assert.ok(!bench.engine.log.slice(-3).some((line) => line.includes('acme')))
})

test('a pinned tenant is booted in a quiet moment, naps, and stays in memory', async () => {
  const bench = new Bench(FOUR)
  await bench.pass(1_000)
  bench.pool.keepWarm.pin('acme' as TenantName)
  await bench.pass(1_000)
  assert.equal(bench.phase('acme'), 'napping')
  assert.deepEqual(bench.engine.log, ['boot acme', 'nap acme'])
  await bench.crowd()
  assert.equal(bench.phase('acme'), 'napping')
  assert.equal(bench.pool.statistics().evictions.warmed, 1)
  await bench.visit('acme')
  const { warmed, hits, pinned } = bench.pool.statistics().keepWarm
  assert.deepEqual([warmed, hits, pinned], [1, 1, 1])
  bench.pool.keepWarm.unpin('acme' as TenantName)
  await bench.crowd()
  assert.equal(bench.phase('acme'), 'cold')
})

test('what a pinned tenant gets is counted also where nothing is learned', async () => {
  const bench = new Bench({ ...FOUR, keepWarm: false })
  await bench.pass(1_000)
  bench.pool.keepWarm.pin('acme' as TenantName)
  await bench.pass(1_000)
  await bench.visit('acme')
  const { known, warmed, hits } = bench.pool.statistics().keepWarm
  assert.deepEqual([known, warmed, hits], [0, 1, 1])
})

test('nobody is booted ahead while somebody is in the middle of something', async () => {
  const bench = new Bench(FOUR)
  await bench.pass(1_000)
  const clients = ['busy', 'busier'].map((name) => bench.pool.connect(name as TenantName))
  for (const client of clients) await bench.ask(client, 'begin')
  bench.pool.keepWarm.pin('acme' as TenantName)
  for (let round = 0; round < 400; round++) {
    await bench.pass(90)
    for (const client of clients) await bench.ask(client, 'more')
  }
  assert.equal(bench.phase('acme'), 'cold')
  for (const client of clients) await bench.ask(client, 'commit')
  await bench.pass(60_000)
  assert.equal(bench.phase('acme'), 'napping')
})

test('a session of a former life is cleaned up, so such an image goes through a slot', async () => {
  const bench = await regular()
  const image = bench.disk.images.get('acme')
  assert.ok(image)
  bench.disk.images.set('acme', { ...image, sessionCount: 1 })
  await bench.pass(HOUR_MS - 80_000)
  assert.equal(bench.phase('acme'), 'napping')
  assert.deepEqual(bench.engine.log.slice(-3), ['resume acme', 'acme: discard all', 'nap acme'])
})

test('a failure is counted, and the pool goes on', async () => {
  const bench = new Bench(FOUR)
  await bench.pass(1_000)
  bench.stores.failOpen = new PgnapError('STORE_IO', 'no disk')
  bench.pool.keepWarm.pin('acme' as TenantName)
  await bench.pass(1_000)
  assert.equal(bench.pool.statistics().keepWarm.failed, 1)
  bench.stores.failOpen = undefined
  await bench.pass(200_000)
  assert.equal(bench.phase('acme'), 'napping')
})

test('a pool that ends brings nobody back', async () => {
  const bench = await regular()
  bench.disk.held = Promise.withResolvers()
  await bench.pass(HOUR_MS - 80_000)
  const drained = bench.pool.drain(0)
  bench.disk.held.resolve()
  await bench.pass(1_000)
  await drained
  assert.equal(bench.phase('acme'), 'cold')
})
