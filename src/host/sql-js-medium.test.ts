import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bucketPlace } from '../../test/support/bucket-place.ts'
import { MemoryBucket } from '../../test/support/memory-bucket.ts'
import { sqlJs } from '../../test/support/sql-js.ts'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import { silentLog } from '../base/log.ts'
import { SyncDelayMonitor } from '../base/sync-delay.ts'
import type { Bucket } from '../medium/bucket.ts'
import { BucketDatabase } from './bucket-database.ts'
import { SqlJsMedium } from './sql-js-medium.ts'

// The suites of test/conformance say what it does as a medium; here is what it promises when.

const TABLE = 'CREATE TABLE t (n INTEGER PRIMARY KEY)'

async function opened(): Promise<{ bucket: MemoryBucket; medium: SqlJsMedium }> {
  const bucket = new MemoryBucket()
  const medium = await bucketPlace(bucket).open()
  medium.exec(TABLE)
  await medium.settled()
  return { bucket, medium }
}

const insert = (medium: SqlJsMedium, n: number): void =>
  medium.transaction(() => void medium.run('INSERT INTO t VALUES (?1)', n))

async function storedIn(bucket: Bucket): Promise<unknown[]> {
  using medium = await bucketPlace(bucket).reopen()
  return medium.all('SELECT n FROM t ORDER BY n').map(([n]) => n)
}

test('what was settled survives the end, and what was not is absent, whole', async () => {
  const { bucket, medium } = await opened()
  insert(medium, 1)
  await medium.settled()
  bucket.hold()
  medium.transaction(() => {
    for (const n of [2, 3]) medium.run('INSERT INTO t VALUES (?1)', n)
  })
  assert.equal(medium.get('SELECT count(*) FROM t')?.[0], 3)
  assert.deepEqual(await storedIn(bucket), [1])
  // The end of the process: what is under way reaches nobody.
  medium[Symbol.dispose]()
  bucket.failure = new PgnapError('STORE_IO', 'the connection is cut')
  bucket.release()
  await assert.rejects(medium.settled(), { code: 'STORE_IO' })
  assert.deepEqual(await storedIn(bucket), [1])
})

test('who closes without waiting is told that something was lost', async () => {
  const { bucket, medium } = await opened()
  insert(medium, 1)
  medium[Symbol.dispose]()
  await assert.rejects(medium.settled(), { code: 'STORE_IO', message: /closed/ })
  assert.deepEqual(await storedIn(bucket), [])
})

test('commits that come while the bucket is busy are written together, in order', async () => {
  const { bucket, medium } = await opened()
  bucket.hold()
  const before = bucket.asked.length
  insert(medium, 1)
  // The first one is on its way.
  await Promise.resolve().then(() => {})
  for (let n = 2; n <= 50; n++) insert(medium, n)
  bucket.release()
  await medium.settled()
  assert.ok(bucket.asked.length - before <= 2, `${bucket.asked.length - before} puts`)
  assert.equal((await storedIn(bucket)).length, 50)
  await medium.close()
})

test('a commit ahead is durable when its sync is done, and not before', async () => {
  const { bucket, medium } = await opened()
  bucket.hold()
  const synced = medium.commitAhead(() => insert(medium, 1))?.()
  assert.ok(synced)
  assert.deepEqual(await storedIn(bucket), [])
  bucket.release()
  await synced
  assert.deepEqual(await storedIn(bucket), [1])
  assert.equal(
    medium.commitAhead(() => {}),
    undefined,
  )
  await medium.close()
})

test('of two who have loaded the same, the second one is told, and writes nothing', async () => {
  const { bucket, medium } = await opened()
  const other = await bucketPlace(bucket).reopen()
  insert(medium, 1)
  await medium.settled()
  const late = other.commitAhead(() => insert(other, 2))?.()
  await assert.rejects(Promise.resolve(late), { code: 'STORE_FENCED' })
  assert.throws(() => insert(other, 3), { code: 'STORE_FENCED' })
  assert.throws(() => other.get('SELECT 1'), { code: 'STORE_FENCED' })
  await assert.rejects(other.close(), { code: 'STORE_FENCED' })
  assert.deepEqual(await storedIn(bucket), [1])
  await medium.close()
})

test('a bucket that refuses is told to who waits and to everybody after', async () => {
  const { bucket, medium } = await opened()
  bucket.failure = new PgnapError('STORE_IO', 'the bucket is gone')
  const synced = medium.commitAhead(() => insert(medium, 1))?.()
  await assert.rejects(Promise.resolve(synced), { code: 'STORE_IO', message: /is gone/ })
  bucket.failure = undefined
  assert.throws(() => insert(medium, 2), { code: 'STORE_IO' })
  medium[Symbol.dispose]()
  assert.deepEqual(await storedIn(bucket), [])
})

test('an object that is no database is STORE_CORRUPT and is left as it is', async () => {
  const { bucket, medium } = await opened()
  await medium.close()
  const stored = bucket.objects.get('database.sqlite')
  assert.ok(stored)
  const header = stored.bytes.slice()
  header.fill(7, 0, 40)
  for (const bytes of [Uint8Array.of(1, 2, 3), new Uint8Array(4096).fill(65), header]) {
    bucket.objects.set('database.sqlite', { bytes, tag: 'x' })
    await assert.rejects(bucketPlace(bucket).open(), { code: 'STORE_CORRUPT' })
    assert.deepEqual(bucket.objects.get('database.sqlite'), { bytes, tag: 'x' })
  }
})

test('an object of nothing is an empty database', async () => {
  const bucket = new MemoryBucket()
  bucket.objects.set('database.sqlite', { bytes: new Uint8Array(0), tag: 'x' })
  using medium = await bucketPlace(bucket).open()
  assert.deepEqual(medium.all('SELECT name FROM sqlite_schema'), [])
})

test('loads and saves are timed and judged by what they take', async () => {
  const clock = new ManualClock()
  const monitor = new SyncDelayMonitor({ clock, log: silentLog })
  const memory = new MemoryBucket()
  const bucket: Bucket = {
    tagOf: (key) => memory.tagOf(key),
    get: async (key) => {
      clock.advance(350)
      return memory.get(key)
    },
    put: async (key, bytes, tag) => {
      clock.advance(1_100)
      return memory.put(key, bytes, tag)
    },
  }
  const options = { sqlJs: await sqlJs(), bucket, key: 'k', clock, monitor }
  const file = await BucketDatabase.load(options)
  assert.deepEqual(file.loadTiming, { totalMs: 350, downloadMs: 350, parseMs: 0 })
  file.database.run(TABLE)
  assert.deepEqual(await file.save(), { totalMs: 1_100, serializeMs: 0, uploadMs: 1_100 })
  assert.ok(file.sizeBytes >= 4096)
  file.close()
  const { load, save } = monitor.facts()
  assert.deepEqual([load.last?.status, save.last?.status], ['warning', 'critical'])
})
