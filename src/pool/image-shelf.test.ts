import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { Fingerprint, TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { silentLog } from '../base/log.ts'
import { ImageShelf } from './image-shelf.ts'
import { type LiveTenant, newLiveTenant } from './pool-client.ts'
import { TenantEntry } from './pool-model.ts'
import type { ImageStore, OpenTenant, StoredImage } from './tenant-source.ts'
import { Upkeep } from './upkeep.ts'

const IMAGE_BYTES = 1_000_000
const DELTA = new Uint8Array(IMAGE_BYTES)

/** A disk whose writes end when the test says so. */
class Disk implements ImageStore {
  keepsAny = true
  readonly files: Set<string> = new Set()
  readonly writes: { readonly name: string; readonly end: (kept: boolean | Error) => void }[] = []

  take(): StoredImage | undefined {
    return undefined
  }

  remove(): void {}

  letGo(): void {}

  write(tenant: TenantName): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>()
    const end = (kept: boolean | Error): void => {
      if (kept instanceof Error) return reject(kept)
      if (kept) this.files.add(tenant)
      resolve(kept)
    }
    this.writes.push({ name: tenant, end })
    return promise
  }

  get waiting(): string {
    return this.writes.map(({ name }) => name).join(' ')
  }

  /** Ends the oldest write. */
  async end(kept: boolean | Error = true): Promise<void> {
    const write = this.writes.shift()
    assert.ok(write)
    write.end(kept)
    for (let turn = 0; turn < 10; turn++) await Promise.resolve()
  }
}

interface Bench {
  readonly shelf: ImageShelf
  readonly disk: Disk
  readonly clock: ManualClock
  readonly moved: string[]
  readonly dropped: string[]
}

function bench(images: number, withDisk = true): Bench {
  const disk = new Disk()
  const clock = new ManualClock()
  const moved: string[] = []
  const dropped: string[] = []
  const shelf = new ImageShelf({
    bytesMax: images * IMAGE_BYTES,
    images: withDisk ? disk : undefined,
    upkeep: new Upkeep({ log: silentLog, clock: new ManualClock() }),
    clock,
    log: silentLog,
    onMoved: ({ entry }) => moved.push(entry.name),
    onDropped: ({ entry }) => dropped.push(entry.name),
  })
  return { shelf, disk, clock, moved, dropped }
}

interface TenantParts {
  readonly clients?: number
  readonly holds?: boolean
  readonly irreplaceable?: boolean
  readonly open?: boolean
}

const upkeep = new Upkeep({ log: silentLog, clock: new ManualClock() })
const stores = new Map<string, { closed: number }>()

/** A tenant that has just left its slot. */
function napping(name: string, parts: TenantParts = {}): LiveTenant {
  const { clients = 0, holds = false, irreplaceable = false, open = false } = parts
  const tenant = newLiveTenant(new TenantEntry(name as TenantName))
  for (let index = 0; index < clients; index++) tenant.clients.add({} as never)
  if (holds) tenant.entry.holder = {} as never
  const store = { closed: 0 }
  stores.set(name, store)
  const files = { walBytesWritten: 0, held: { cacheBytes: 0 }, irreplaceable }
  const opened = {
    files,
    readNotes: () => undefined,
    close: () => void store.closed++,
  } as unknown as OpenTenant
  tenant.progress = upkeep.begin(tenant.entry.name, opened)
  if (open) tenant.open = opened
  tenant.image = {
    stamp: name,
    sessionCount: 0,
    image: {
      memoryId: 'x' as Fingerprint,
      database: name,
      stackPointer: 0,
      descriptors: [],
      libraryHandles: [],
      delta: { bytes: DELTA, endBytes: 0 },
      heapEnd: 0,
      status: holds ? 'transaction' : 'idle',
      copied: false,
    },
  }
  return tenant
}

const closedOf = (name: string): number | undefined => stores.get(name)?.closed

test('no more of them go than have to, whose stores are open as well', async () => {
  const { shelf, disk } = bench(4)
  for (const name of ['a', 'b', 'c', 'd']) shelf.put(napping(name, { open: true }), false)
  shelf.makeRoom()
  assert.equal(disk.waiting, 'a')
})

test('beyond its bytes the least recently used go to disk, and then leave', async () => {
  const { shelf, disk, moved } = bench(2)
  const [a, b, c] = ['a', 'b', 'c'].map((name) => napping(name, { clients: 1 }))
  assert.ok(a && b && c)
  for (const tenant of [a, b]) shelf.put(tenant, false)
  shelf.makeRoom()
  assert.equal(disk.waiting, '')
  // Who was used again is the newest.
  const image = shelf.take(a)
  a.image = image
  shelf.put(a, false)
  shelf.put(c, false)
  shelf.makeRoom()
  shelf.makeRoom()
  assert.equal(disk.waiting, 'b', 'once, though room was asked for twice')
  assert.equal(shelf.bytes, 3 * IMAGE_BYTES)
  await disk.end()
  assert.deepEqual([moved, shelf.count, shelf.bytes], [['b'], 2, 2 * IMAGE_BYTES])
  assert.deepEqual([b.image, b.progress], [undefined, undefined])
})

test('an image that was taken back while it was written stays where it is', async () => {
  const { shelf, disk, moved } = bench(1)
  const [a, b] = [napping('a', { clients: 1 }), napping('b', { clients: 1 })]
  shelf.put(a, false)
  shelf.put(b, false)
  shelf.makeRoom()
  assert.equal(disk.waiting, 'a')
  a.image = { ...(shelf.take(a) ?? assert.fail()) }
  shelf.put(a, false)
  await disk.end(false)
  assert.deepEqual(moved, [])
  assert.ok(a.image, 'the newer image is here')
  // Room is made again, now by the one that is the oldest.
  assert.equal(disk.waiting, 'b')
})

test('what the disk refuses is not tried again; what failed is, after a pause', async () => {
  const { shelf, disk, clock } = bench(1)
  const [a, b] = [napping('a', { clients: 1 }), napping('b', { clients: 1 })]
  shelf.put(a, false)
  shelf.put(b, false)
  shelf.makeRoom()
  assert.equal(disk.waiting, 'a')
  await disk.end(new PgnapError('STORE_IO', 'no space left'))
  for (let round = 0; round < 100; round++) shelf.makeRoom()
  assert.equal(disk.waiting, '')
  clock.advance(1_000)
  shelf.makeRoom()
  assert.equal(disk.waiting, 'a')
  await disk.end(false)
  shelf.makeRoom()
  assert.equal(disk.waiting, 'b', 'the next one')
})

test('without a disk the oldest without clients go first, then the oldest of all', () => {
  for (const keepsAny of [undefined, false]) {
    const { shelf, disk, dropped } = bench(60, keepsAny !== undefined)
    disk.keepsAny = false
    const put = (name: string, clients: number): void =>
      shelf.put(napping(name, { clients }), false)
    put('a', 1)
    put('b', 0)
    for (let count = 3; count <= 76; count++) put(`c${count}`, 1)
    assert.equal(shelf.crowded, true)
    shelf.makeRoom()
    assert.deepEqual(dropped, ['b'], 'and no session, up to twice the room')
    for (let count = 77; count <= 122; count++) put(`c${count}`, 1)
    shelf.makeRoom()
    assert.deepEqual(dropped, ['b', 'a'])
    assert.equal(disk.waiting, '')
  }
})

test('a budget below one image ends no session while the image goes to disk', async () => {
  const { shelf, disk, moved, dropped } = bench(0.1)
  shelf.put(napping('a', { clients: 1 }), false)
  shelf.put(napping('b', { clients: 1, holds: true }), false)
  shelf.makeRoom()
  assert.deepEqual([disk.waiting, dropped], ['a', []])
  await disk.end()
  shelf.makeRoom()
  assert.deepEqual([moved, dropped], [['a'], []])
  const others = LIMITS.slotRetireBytes / IMAGE_BYTES
  for (let count = 1; count <= others; count++)
    shelf.put(napping(`c${count}`, { clients: 1 }), false)
  shelf.makeRoom()
  assert.deepEqual(dropped, ['b'], 'beyond the largest image there is they go, the oldest first')
})

test('an open transaction and what only open files have do not go to disk', () => {
  const { shelf, disk } = bench(1)
  shelf.put(napping('a', { holds: true, clients: 1 }), false)
  shelf.put(napping('b', { irreplaceable: true, open: true, clients: 1 }), true)
  shelf.put(napping('c', { clients: 1 }), false)
  assert.equal(closedOf('b'), 0)
  shelf.makeRoom()
  assert.equal(disk.waiting, 'c')
})

test('only so many stores stay open, and none of a tenant that was sent away', () => {
  const { shelf } = bench(1_000)
  const names = Array.from(
    { length: LIMITS.nappingStoresOpenMax + 2 },
    (_, index) => `open${index}`,
  )
  for (const name of names) shelf.put(napping(name, { open: true }), false)
  assert.deepEqual(
    names.filter((name) => closedOf(name) === 1),
    ['open0', 'open1'],
  )
  shelf.put(napping('sent', { open: true }), true)
  assert.equal(closedOf('sent'), 1)
})

test('the end writes the newest first, while there is time, and closes all stores', async () => {
  const { shelf, disk, clock, moved } = bench(1_000)
  const names = ['a', 'b', 'c', 'd', 'e', 'f']
  for (const name of names) shelf.put(napping(name, { open: true }), false)
  const closing = shelf.close()
  for (let turn = 0; turn < 10; turn++) await Promise.resolve()
  assert.equal(disk.waiting, 'f e d c')
  clock.advance(LIMITS.drainImagesMs)
  while (disk.writes.length > 0) await disk.end()
  await closing
  assert.deepEqual(moved, ['f', 'e', 'd', 'c'])
  assert.equal(shelf.count, 0)
  assert.ok(names.every((name) => closedOf(name) === 1))
})

test('the end waits for what is on its way already', async () => {
  const { shelf, disk, moved } = bench(1)
  const b = napping('b', { clients: 1 })
  shelf.put(napping('a', { clients: 1 }), false)
  shelf.put(b, false)
  shelf.makeRoom()
  assert.equal(disk.waiting, 'a')
  shelf.take(b)
  const closing = shelf.close()
  for (let turn = 0; turn < 10; turn++) await Promise.resolve()
  await disk.end()
  await closing
  assert.deepEqual(moved, ['a'], 'not dropped while it was written')
})
