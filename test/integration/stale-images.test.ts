/**
 * Every kind of image that must not be used, each against the real engine: the tenant boots from
 * its store, and what it says is what the store says.
 */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { before, test } from 'node:test'
import { deserialize, serialize } from 'node:v8'
import type { Fingerprint, TenantName, Version } from '../../src/base/ids.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { StoredImage } from '../../src/pool/tenant-source.ts'
import { MAIN } from '../../src/store/keys.ts'
import { ask, ImageWorld, verifyingEngine } from '../support/image-world.ts'
import { testFolder } from '../support/temporary-folder.ts'

const folder = testFolder()
let engine: WasmEngine
let first: ImageWorld
/** Everything as it was at some moment: the rows that the store has, and the folder. */
const moments = new Map<number, ImageWorld>()
const moment = (rows: number): string => join(folder, `moment-${rows}`)

const TENANT = 'acme' as TenantName
const COUNT = 'select count(*) from t'

before(async () => {
  engine = await verifyingEngine()
  first = new ImageWorld({ engine, path: join(folder, 'first') })
  first.newTenant(TENANT)
  first.newTenant('beta')
  await first.ask(TENANT, 'create table t(n int primary key)')
  await first.ask('beta', 'create table t(n int primary key); insert into t values (-1)')
  for (const rows of [1, 2, 3]) {
    await first.ask(TENANT, `insert into t values (${rows})`)
    await first.pool.drain()
    first.copyTo(moment(rows))
    moments.set(rows, first.again({ path: moment(rows) }))
    first = first.again()
  }
  await first.pool.drain()
})

const at = (rows: number): ImageWorld => {
  const world = moments.get(rows)
  assert.ok(world)
  return world
}

/** A server over a copy of the third moment. */
function server(name: string): ImageWorld {
  const path = join(folder, name)
  rmSync(path, { recursive: true, force: true })
  cpSync(moment(3), path, { recursive: true })
  return first.again({ path })
}

const store = (from: ImageWorld, to: ImageWorld, name = TENANT): void => {
  mkdirSync(dirname(to.storePath(name)), { recursive: true })
  cpSync(from.storePath(name), to.storePath(name))
}

/** Changes what the file of an image says, with a checksum that fits. */
async function edit(world: ImageWorld, change: (image: StoredImage) => StoredImage): Promise<void> {
  const { images } = world.again()
  const image = images.take(TENANT)
  assert.ok(image)
  await images.write(TENANT, change(deserialize(serialize(image)) as StoredImage))
}

interface Kind {
  readonly name: string
  /** Rows that the store has at the end. */
  readonly rows: number
  readonly make: (world: ImageWorld) => void | Promise<void>
}

const flip = (position: (length: number) => number): Kind['make'] => {
  return (world) => {
    const bytes = world.readImage(TENANT)
    const offset = position(bytes.length)
    bytes.writeUInt8(bytes.readUInt8(offset) ^ 1, offset)
    world.writeImage(TENANT, bytes)
  }
}

const cut = (length: (length: number) => number): Kind['make'] => {
  return (world) => {
    const bytes = world.readImage(TENANT)
    world.writeImage(TENANT, bytes.subarray(0, length(bytes.length)))
  }
}

const KINDS: readonly Kind[] = [
  {
    name: 'of an older version',
    rows: 3,
    make: (world) => world.writeImage(TENANT, at(2).readImage(TENANT)),
  },
  {
    name: 'of a newer version, the store is a backup',
    rows: 2,
    make: (world) => store(at(2), world),
  },
  {
    name: 'of a newer version, the store was restored to an older one',
    rows: 2,
    make: (world) => {
      using opened = world.stores.openStore(TENANT)
      using older = at(2).stores.openStore(TENANT)
      opened.restore(MAIN, older.head() as Version)
    },
  },
  {
    name: 'of another tenant',
    rows: 3,
    make: (world) => world.writeImage(TENANT, world.readImage('beta')),
  },
  {
    name: 'of another tenant whose store is in the place now',
    rows: 1,
    make: (world) => renameSync(world.storePath('beta'), world.storePath(TENANT)),
  },
  {
    name: 'of another build',
    rows: 3,
    make: (world) =>
      edit(world, (image) => ({
        ...image,
        image: { ...image.image, memoryId: `${image.image.memoryId}0` as Fingerprint },
      })),
  },
  {
    name: 'with a file open that does not exist',
    rows: 3,
    make: (world) =>
      edit(world, (image) => ({
        ...image,
        image: {
          ...image.image,
          descriptors: image.image.descriptors.map((each) => ({ ...each, ino: 2 ** 24 - 1 })),
        },
      })),
  },
  {
    name: 'of a backup that another owner took to the same version',
    rows: 4,
    make: async (world) => {
      const elsewhere = first.again({ path: join(folder, 'elsewhere') })
      store(at(2), elsewhere)
      await elsewhere.ask(TENANT, 'insert into t values (30), (31)')
      await elsewhere.pool.drain()
      const [ours, theirs] = [world, elsewhere].map((each) => {
        using opened = each.stores.openStore(TENANT)
        return opened.stamp().split('.')
      })
      assert.ok(ours && theirs)
      // Same store, layer, epoch and version: only the owner's name tells them apart.
      assert.deepEqual(ours.toSpliced(3, 1), theirs.toSpliced(3, 1))
      assert.notEqual(ours[3], theirs[3])
      store(elsewhere, world)
    },
  },
  { name: 'with a flipped bit in its magic', rows: 3, make: flip(() => 3) },
  { name: 'with a flipped bit in its format', rows: 3, make: flip(() => 8) },
  { name: 'with a flipped bit in a length', rows: 3, make: flip(() => 12) },
  { name: 'with a flipped bit in its hash', rows: 3, make: flip(() => 20) },
  { name: 'with a flipped bit in its header', rows: 3, make: flip(() => 70) },
  { name: 'with a flipped bit in its memory', rows: 3, make: flip((length) => length >> 1) },
  { name: 'with a flipped bit at its end', rows: 3, make: flip((length) => length - 1) },
  { name: 'cut to nothing', rows: 3, make: cut(() => 0) },
  { name: 'cut in its head', rows: 3, make: cut(() => 47) },
  { name: 'cut after its head', rows: 3, make: cut(() => 48) },
  { name: 'cut in the middle', rows: 3, make: cut((length) => length >> 1) },
  { name: 'cut before its end', rows: 3, make: cut((length) => length - 1) },
]

test('the image that fits is used: the table below can fail', async () => {
  const world = server('fits')
  assert.equal(await world.ask(TENANT, COUNT), '3')
  assert.deepEqual(wakes(world), { asleep: 1 })
  await world.pool.drain()
})

for (const [index, { name, rows, make }] of KINDS.entries()) {
  test(`never used from disk: an image ${name}`, async () => {
    const world = server(`disk-${index}`)
    await make(world)
    assert.equal(await world.ask(TENANT, COUNT), String(rows))
    assert.deepEqual(wakes(world), { cold: 1 })
    assert.equal(world.hasImage(TENANT), false, 'it is dropped')
    await check(world, rows)
    await world.pool.drain()
  })
}

test('never used: an image whose tenant was given another name, with its files', async () => {
  const world = server('renamed')
  mkdirSync(dirname(world.storePath('gamma')), { recursive: true })
  renameSync(world.storePath(TENANT), world.storePath('gamma'))
  renameSync(world.imagePath(TENANT), world.imagePath('gamma'))
  assert.equal(await world.ask('gamma', 'select current_database()'), 'gamma')
  assert.equal(await world.ask('gamma', COUNT), '3')
  assert.deepEqual(wakes(world), { cold: 1 })
  assert.equal(world.hasImage('gamma'), false, 'it is dropped')
  await world.pool.drain()
})

/** Kinds that can be made under a tenant that naps, its store closed. */
const IN_MEMORY = [
  'of a newer version, the store is a backup',
  'of a newer version, the store was restored to an older one',
  'of another tenant whose store is in the place now',
  'of a backup that another owner took to the same version',
]

for (const { name, rows, make } of KINDS.filter((kind) => IN_MEMORY.includes(kind.name))) {
  test(`never used from memory: an image ${name}`, async () => {
    const world = server('memory')
    await world.ask(TENANT, COUNT)
    world.pool.nap(TENANT)
    assert.equal(world.pool.phaseOf(TENANT), 'napping')
    await make(world)
    assert.equal(await world.ask(TENANT, COUNT), String(rows))
    assert.deepEqual(wakes(world), { asleep: 1, cold: 1 })
    await check(world, rows)
    await world.pool.drain()
  })
}

function wakes(world: ImageWorld): Record<string, number> {
  const found = Object.entries(world.pool.statistics().wakes)
  return Object.fromEntries(
    found.filter(([, { count }]) => count > 0).map(([k, v]) => [k, v.count]),
  )
}

/** Memory and files are of one time: index and heap agree, and a new row is a new row. */
async function check(world: ImageWorld, rows: number): Promise<void> {
  const client = world.pool.connect(TENANT)
  await ask(client, 'insert into t values (1000)')
  assert.equal(await ask(client, COUNT), String(rows + 1))
  await ask(client, 'set enable_seqscan = off')
  assert.equal(await ask(client, 'select count(*) from t where n > -10'), String(rows + 1))
  client.close()
}
