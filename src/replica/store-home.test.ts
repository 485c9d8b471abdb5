/** What a home answers to whoever asks, and to whoever should not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HomeUnderTest } from '../../test/support/replica-world.ts'
import { NodeSqliteMedium } from '../host/node/sqlite-medium.ts'
import type { InodeNo, PageKey } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { encodeRecord } from '../store/inode-record.ts'
import { chunkKey, FIRST_TENANT_INODE, MAIN, recordKey } from '../store/keys.ts'
import { fetchAll } from './fetch.ts'
import type { Delivery, Home } from './home.ts'
import { packCommit } from '../store/packing.ts'

const newHome = (): HomeUnderTest => {
  const medium = NodeSqliteMedium.inMemory()
  return new HomeUnderTest({ open: () => medium })
}

/** As large as `chunks` pages, each with a number of its own. */
function writeFile({ store }: HomeUnderTest, number: number, chunks: number, mark: number): void {
  const inode = (FIRST_TENANT_INODE + number) as InodeNo
  const record = encodeRecord({
    mode: 0o100600,
    sizeBytes: chunks * 8192,
    baseBytes: 0,
    chunkBytes: 8192,
    modifiedMs: 0,
    parent: 1 as InodeNo,
    name: `file-${number}`,
  })
  const puts = [{ key: recordKey(inode), data: record }]
  for (let chunk = 0; chunk < chunks; chunk++) {
    const data = new Uint8Array(8192).fill(mark)
    new DataView(data.buffer).setUint32(0, chunk)
    puts.push({ key: chunkKey(inode, chunk), data })
  }
  const nextInode = (FIRST_TENANT_INODE + 100) as InodeNo
  store.commit(MAIN, store.head(), { puts, deletions: [], nextInode })
}

/** All that the store holds, by its keys. */
function contentOf({ store }: HomeUnderTest): Map<PageKey, string> {
  using view = store.view()
  const range = { from: 0 as PageKey, to: (2 ** 44 - 1) as PageKey }
  return new Map(
    view.readRange(range).map(([key, data]) => [key, Buffer.from(data).toString('hex')]),
  )
}

const SLICE_CHUNKS = Math.ceil(LIMITS.sliceBytes / 8192)

test('what is large comes in slices, of one version, whatever is written meanwhile', async () => {
  const world = newHome()
  writeFile(world, 0, SLICE_CHUNKS + 300, 1)
  writeFile(world, 1, 40, 2)
  const before = contentOf(world)
  let slices = 0
  const home: Home = {
    fetch: async (request) => {
      const slice = world.home.fetch(request)
      assert.ok(slice.rows.length < LIMITS.sliceBytes + 130 * 8250, `${slice.rows.length} bytes`)
      slices++
      writeFile(world, 1, 40, 2 + slices)
      return slice
    },
    deliver: async (delivery) => world.home.deliver(delivery),
  }
  const fetched = await fetchAll(home)
  assert.ok(slices > 1 && fetched.sliceCount === slices)
  const rows = fetched.rows.map(({ key, data }) => [key, Buffer.from(data ?? []).toString('hex')])
  assert.deepEqual(new Map(rows as [PageKey, string][]), before)
  assert.equal(rows.length, before.size)
  // What has moved since then comes in slices as well.
  slices = 0
  writeFile(world, 0, SLICE_CHUNKS + 300, 9)
  const now = contentOf(world)
  const changes = await fetchAll(home, { known: fetched.state.stamp })
  assert.equal(changes.kind, 'changes')
  assert.ok(slices > 1)
  for (const { key, data } of changes.rows) {
    assert.equal(Buffer.from(data ?? []).toString('hex'), now.get(key))
  }
  assert.ok(changes.rows.length >= SLICE_CHUNKS + 300)
})

test('what is too large for a compute is refused before it is there', async () => {
  const world = newHome()
  const files = Math.ceil(LIMITS.replicaBytesMax / (1_000 * 8192)) + 1
  for (let number = 0; number < files; number++) writeFile(world, number, 1_000, 1)
  await assert.rejects(fetchAll(world.calls), { code: 'DATABASE_TOO_LARGE', sqlState: '53100' })
  assert.ok(world.calls.calls.fetch * LIMITS.sliceBytes < LIMITS.replicaBytesMax * 2)
})

test('a version that is forgotten while it is fetched is begun anew', async () => {
  const world = newHome()
  writeFile(world, 0, SLICE_CHUNKS + 100, 1)
  let asked = 0
  const home: Home = {
    fetch: async (request) => {
      asked++
      if (asked === 2) {
        writeFile(world, 0, SLICE_CHUNKS + 100, 2)
        while (world.store.pruneLayer(MAIN, world.store.head()).more);
      }
      return world.home.fetch(request)
    },
    deliver: async (delivery) => world.home.deliver(delivery),
  }
  const fetched = await fetchAll(home)
  assert.equal(fetched.state.version, 2)
  assert.equal(fetched.rows.length, SLICE_CHUNKS + 101)
  assert.equal(asked, 4)
})

test('a cursor of another history is refused, though the number of its version is known', () => {
  const world = newHome()
  writeFile(world, 0, 2, 1)
  const { state } = world.home
  const from = 0 as PageKey
  assert.equal(world.home.fetch({ cursor: { kind: 'whole', state, from } }).kind, 'whole')
  const strange = { ...state, stamp: `${state.stamp}0` }
  assert.throws(() => world.home.fetch({ cursor: { kind: 'whole', state: strange, from } }), {
    code: 'VERSION_NOT_RETAINED',
  })
})

test('whoever brings nonsense changes nothing', () => {
  const world = newHome()
  writeFile(world, 0, 2, 1)
  const before = contentOf(world)
  const good = packCommit({ puts: [], deletions: [] })
  const delivery: Delivery = {
    base: world.home.state.stamp,
    writer: 'w',
    sequence: 5,
    commits: [good],
    again: false,
  }
  const bring = (changed: Partial<Delivery>): unknown =>
    world.home.deliver({ ...delivery, ...changed })
  assert.throws(() => bring({ commits: [] }), { code: 'PROTOCOL_VIOLATION' })
  assert.throws(() => bring({ commits: [Uint8Array.of(0, 0, 7, 9, 1)] }), { code: 'STORE_CORRUPT' })
  const [lower, twice] = [
    packCommit({ puts: [], deletions: [], nextInode: 1 as InodeNo }),
    Uint8Array.of(0, 0, 7, 1, 7, 1),
  ]
  assert.throws(() => bring({ commits: [lower] }), { code: 'PROTOCOL_VIOLATION' })
  assert.throws(() => bring({ commits: [twice] }), { code: 'STORE_CORRUPT' })
  assert.throws(() => bring({ base: '' }), { code: 'STORE_FENCED', sqlState: '40001' })
  assert.throws(() => bring({ writer: 'no name at all' }), /short name/)
  assert.deepEqual(contentOf(world), before)
  bring({})
  // The same again is there already; less than that was never brought alone.
  assert.deepEqual(bring({}), { count: 1, state: world.home.state })
  assert.throws(() => bring({ sequence: 3 }), { code: 'PROTOCOL_VIOLATION' })
  assert.equal(world.store.head(), 2)
})

test('of several commits those that came through are told, and the rest can follow', () => {
  const world = newHome()
  const commit = packCommit({ puts: [], deletions: [] })
  world.failCommit('before')
  const delivery = { writer: 'w', commits: [commit, commit, commit], again: false }
  const { stamp } = world.home.state
  assert.throws(() => world.home.deliver({ ...delivery, base: stamp, sequence: 1 }), {
    code: 'STORE_IO',
  })
  const first = world.home.deliver({ ...delivery, base: stamp, sequence: 1 })
  assert.deepEqual([first.count, first.state.version], [3, 3])
})
