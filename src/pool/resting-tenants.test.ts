/** Letting a tenant go to another pool, with a fake engine and fake stores. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeEngine, FakeStores } from '../../test/support/fake-shard.ts'
import { fromUtf8, utf8, keptBytes } from '../base/bytes.ts'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { silentLog } from '../base/log.ts'
import { BusyMeter } from './busy-meter.ts'
import { Pool } from './pool.ts'
import type { ImageStore, StoredImage } from './tenant-source.ts'

const TENANT = 'acme' as TenantName

/** A folder of images that is as slow as a test wants it, and may be out of order. */
class FakeImages implements ImageStore {
  readonly files: Map<TenantName, StoredImage> = new Map()
  readonly letGoOf: TenantName[] = []
  writing: Promise<void> = Promise.resolve()
  fails = false

  readonly keepsAny: boolean = true

  take(tenant: TenantName): StoredImage | undefined {
    const image = this.files.get(tenant)
    this.files.delete(tenant)
    return image
  }

  async write(tenant: TenantName, image: StoredImage): Promise<boolean> {
    await this.writing
    if (this.fails) throw new PgnapError('STORE_IO', 'no room')
    this.files.set(tenant, image)
    return true
  }

  remove(tenant: TenantName): void {
    this.files.delete(tenant)
  }

  letGo(tenant: TenantName): void {
    this.letGoOf.push(tenant)
  }
}

class StoresWithImages extends FakeStores {
  readonly images: FakeImages = new FakeImages()
}

async function setUp(canNap = true): Promise<{
  pool: Pool
  stores: StoresWithImages
  images: FakeImages
  write: () => Promise<string>
}> {
  const engine = new FakeEngine()
  const stores = new StoresWithImages()
  const pool = new Pool({ engine, source: stores, clock: new ManualClock(), log: silentLog })
  await new Promise(setImmediate)
  for (const slot of engine.slots) slot.canNap = canNap
  const write = async (): Promise<string> => {
    const client = pool.connect(TENANT)
    try {
      return fromUtf8(await keptBytes(client.run(utf8('write'), true)))
    } finally {
      client.close()
    }
  }
  return { pool, stores, images: stores.images, write }
}

test('an awake tenant without clients goes, and leaves nothing but its image on disk', async () => {
  const { pool, stores, images, write } = await setUp()
  await write()
  assert.ok(stores.openTenants.has(TENANT))
  assert.equal(await pool.resting.release(TENANT), true)
  assert.deepEqual([...stores.openTenants], [])
  assert.ok(images.files.has(TENANT))
  assert.deepEqual(images.letGoOf, [TENANT])
  assert.equal(pool.phaseOf(TENANT), 'cold')
  assert.equal(pool.statistics().images.count, 0)
  assert.equal(await pool.resting.release(TENANT), true, 'there is nothing more to let go')
})

test('it has gone only when its image is written and its store closed', async () => {
  const { pool, stores, images, write } = await setUp()
  await write()
  const written = Promise.withResolvers<void>()
  images.writing = written.promise
  let isReleased = false
  const release = pool.resting.release(TENANT).then(() => (isReleased = true))
  await new Promise(setImmediate)
  assert.ok(!isReleased)
  written.resolve()
  await release
  assert.deepEqual([...stores.openTenants], [])
})

test('an image that cannot be written keeps nobody: the tenant boots', async () => {
  const { pool, stores, images, write } = await setUp()
  await write()
  images.fails = true
  assert.equal(await pool.resting.release(TENANT), true)
  assert.deepEqual([...stores.openTenants], [])
  assert.equal(images.files.size, 0)
})

test('a tenant of which no image can be taken is shut down and goes', async () => {
  const { pool, stores, images, write } = await setUp(false)
  await write()
  assert.equal(await pool.resting.release(TENANT), true)
  assert.deepEqual([...stores.openTenants], [])
  assert.equal(images.files.size, 0)
})

test('a tenant with a client stays as it is', async () => {
  const { pool, write } = await setUp()
  await write()
  const client = pool.connect(TENANT)
  assert.equal(await pool.resting.release(TENANT), false)
  assert.equal(pool.phaseOf(TENANT), 'awake')
  client.close()
  assert.equal(await pool.resting.release(TENANT), true)
})

test('busy time is forgotten by halves', () => {
  const meter = new BusyMeter()
  meter.add(100, 0)
  meter.add(100, 10)
  assert.equal(Math.round(meter.recentMs(10)), 200)
  assert.equal(Math.round(meter.recentMs(5_010)), 100)
  meter.add(50, 10_010)
  assert.equal(Math.round(meter.recentMs(10_010)), 100)
})
