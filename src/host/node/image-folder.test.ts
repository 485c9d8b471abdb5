import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Fingerprint, TenantName } from '../../base/ids.ts'
import { type Log, silentLog } from '../../base/log.ts'
import type { StoredImage } from '../../pool/tenant-source.ts'
import { testFolder } from '../../../test/support/temporary-folder.ts'
import { ImageFolder, type ImageFolderOptions } from './image-folder.ts'

const root = testFolder()
let folderCount = 0
const ACME = 'acme' as TenantName
const name = (text: string): TenantName => text as TenantName

function newPath(): string {
  return join(root, `images-${folderCount++}`)
}

function open(path: string, options: Partial<ImageFolderOptions> = {}): ImageFolder {
  return new ImageFolder({
    path,
    bytesMax: 2 ** 20,
    owns: () => true,
    log: silentLog,
    ...options,
  })
}

function imageOf(bytes: Uint8Array, stamp = 's.0.1.o.7'): StoredImage {
  return {
    stamp,
    sessionCount: 2,
    notes: '{}',
    image: {
      memoryId: 'build' as Fingerprint,
      database: 'acme',
      stackPointer: 66_000,
      descriptors: [{ fd: 5, ino: 12, flags: 2, position: 8192 }],
      libraryHandles: [4096],
      delta: { bytes, endBytes: 8192 },
      heapEnd: 65_536,
      status: 'idle',
      copied: false,
    },
  }
}

/** Bytes that do not compress. */
function noise(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length))
}

const PLAIN = imageOf(noise(5_000))

test('an image comes back as it was, marked as a copy, once', async () => {
  const folder = open(newPath())
  const number = fc.nat({ max: 2 ** 31 })
  const descriptor = fc.record(
    {
      fd: number,
      ino: number,
      flags: number,
      position: number,
      device: fc.constant('/dev/urandom'),
    },
    { requiredKeys: ['fd', 'ino', 'flags', 'position'] },
  )
  const image = fc.record({
    stamp: fc.string(),
    sessionCount: fc.nat(),
    notes: fc.string({ unit: 'grapheme' }),
    image: fc.record({
      memoryId: fc.constant('build' as Fingerprint),
      database: fc.string(),
      stackPointer: number,
      descriptors: fc.array(descriptor),
      libraryHandles: fc.array(number),
      delta: fc.record({ bytes: fc.uint8Array({ maxLength: 20_000 }), endBytes: number }),
      heapEnd: number,
      status: fc.constant('idle' as const),
      copied: fc.boolean(),
    }),
  })
  await fc.assert(
    fc.asyncProperty(image, async (stored: StoredImage) => {
      assert.equal(await folder.write(ACME, stored), true)
      const back = folder.take(ACME)
      assert.ok(back)
      const { bytes } = back.image.delta
      const delta = { ...back.image.delta, bytes: new Uint8Array(bytes) }
      const expected = { ...stored, image: { ...stored.image, copied: true } }
      // Records of fast-check have no prototype.
      assert.deepEqual({ ...back, image: { ...back.image, delta } }, structuredClone(expected))
      assert.equal(folder.take(ACME), undefined)
    }),
    { numRuns: 50 },
  )
})

test('a file that is damaged or cut anywhere is no image, and is gone', async () => {
  const path = newPath()
  const folder = open(path)
  await folder.write(ACME, PLAIN)
  const file = join(path, 'acme.img')
  const whole = readFileSync(file)
  const at = [...Array(64).keys(), 100, 300, whole.length >> 1, whole.length - 1]
  const damaged = at.map((position) => {
    const bytes = Buffer.from(whole)
    bytes.writeUInt8(bytes.readUInt8(position) ^ 0x10, position)
    return bytes
  })
  const cut = [0, 1, 8, 16, 47, 48, 60, whole.length >> 1, whole.length - 1]
  const longer = Buffer.concat([whole, Buffer.from([0])])
  const kinds = [...damaged, ...cut.map((length) => whole.subarray(0, length)), longer]
  for (const [kind, bytes] of kinds.entries()) {
    writeFileSync(file, bytes)
    assert.equal(open(path).take(ACME), undefined, `kind ${kind}`)
    assert.equal(existsSync(file), false, `kind ${kind}`)
  }
  writeFileSync(file, whole)
  assert.equal(open(path).take(ACME)?.stamp, PLAIN.stamp)
})

test('where nothing is kept any more, what was kept before goes', async () => {
  const path = newPath()
  const folder = open(path)
  for (const each of ['a', 'b', 'c']) await folder.write(name(each), PLAIN)
  writeFileSync(join(path, 'a.img.7.new'), 'half')
  writeFileSync(join(path, 'README'), 'not ours')
  await open(path, { bytesMax: 0, owns: (tenant) => tenant !== 'b' }).clear()
  assert.deepEqual(readdirSync(path).toSorted(), ['README', 'b.img'])
  await open(newPath(), { bytesMax: 0 }).clear()
})

test('beyond its bytes the oldest files go, one that is too large does not come', async () => {
  const path = newPath()
  const folder = open(path, { bytesMax: 20_000 })
  for (const each of ['a', 'b', 'c']) await folder.write(name(each), PLAIN)
  assert.deepEqual(readdirSync(path).toSorted(), ['a.img', 'b.img', 'c.img'])
  // Written again it is the newest.
  await folder.write(name('a'), PLAIN)
  await folder.write(name('d'), PLAIN)
  assert.deepEqual(readdirSync(path).toSorted(), ['a.img', 'c.img', 'd.img'])
  assert.equal(await folder.write(name('e'), imageOf(noise(30_000))), false)
  assert.deepEqual(readdirSync(path).toSorted(), ['a.img', 'c.img', 'd.img'])
  // What was taken makes room.
  folder.take(name('a'))
  await folder.write(name('f'), PLAIN)
  assert.deepEqual(readdirSync(path).toSorted(), ['c.img', 'd.img', 'f.img'])
})

test('what a former process left is counted by age, what is half done is removed', async () => {
  const path = newPath()
  const before = open(path)
  for (const each of ['old', 'new', 'other']) await before.write(name(each), PLAIN)
  utimesSync(join(path, 'old.img'), 1_000, 1_000)
  for (const rest of ['mine.img.3.new', 'other.img.4.new', 'README'])
    writeFileSync(join(path, rest), 'x')
  // Listed and not there, as when its tenant wakes in between.
  symlinkSync(join(path, 'nowhere'), join(path, 'woken.img'))
  const owns = (tenant: TenantName): boolean => tenant !== 'other'
  const folder = open(path, { bytesMax: 11_500, owns })
  await folder.write(name('next'), PLAIN)
  // The other shard may be about to rename its file, and the user's file is not ours.
  const left = ['README', 'new.img', 'next.img', 'other.img', 'other.img.4.new', 'woken.img']
  assert.deepEqual(readdirSync(path).toSorted(), left)
  assert.equal(folder.take(name('new'))?.stamp, PLAIN.stamp)
})

test('a tenant that wakes while the folder is counted does no harm', async () => {
  const path = newPath()
  const before = open(path)
  const names = Array.from({ length: 50 }, (_, index) => name(`t${index}`))
  for (const each of names) await before.write(each, PLAIN)
  const folder = open(path)
  const writing = folder.write(ACME, PLAIN)
  for (const each of names) {
    assert.ok(folder.take(each))
    await Promise.resolve()
  }
  assert.equal(await writing, true)
  assert.equal(await folder.write(name('next'), PLAIN), true)
})

test('an image that is being written is not kept once it was taken or removed', async () => {
  for (const end of ['take', 'remove'] as const) {
    const path = newPath()
    const folder = open(path)
    // At any moment of the write.
    for (let turns = 0; turns < 40; turns++) {
      const writing = folder.write(ACME, PLAIN)
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
      folder[end](ACME)
      await writing
      assert.deepEqual(readdirSync(path), [], `${end} after ${turns} turns`)
    }
  }
})

test('of two writes of one tenant the newer counts', async () => {
  const path = newPath()
  const folder = open(path)
  const [older, newer] = [
    folder.write(ACME, imageOf(noise(9_000), 'old')),
    folder.write(ACME, PLAIN),
  ]
  assert.deepEqual(await Promise.all([older, newer]), [false, true])
  assert.deepEqual(readdirSync(path), ['acme.img'])
  assert.equal(folder.take(ACME)?.stamp, PLAIN.stamp)
})

test('no folder is no image; one that cannot be made fails the write, until it can', async () => {
  const path = newPath()
  assert.equal(open(path).take(ACME), undefined)
  writeFileSync(path, 'a file in its place')
  const warnings: string[] = []
  const log: Log = { ...silentLog, warn: (message) => warnings.push(message) }
  const folder = open(path, { log })
  await assert.rejects(folder.write(ACME, PLAIN), { code: 'STORE_IO' })
  assert.equal(folder.take(ACME), undefined)
  const better = newPath()
  mkdirSync(better)
  const other = open(join(better, 'images'), { log })
  writeFileSync(join(better, 'images'), '')
  await assert.rejects(other.write(ACME, PLAIN), { code: 'STORE_IO' })
  rmSync(join(better, 'images'))
  assert.equal(await other.write(ACME, PLAIN), true)
})

test('what cannot be removed is not used: it would be used again when it is old', () => {
  const path = newPath()
  // A folder in the place of the file can be neither read nor removed as one.
  mkdirSync(join(path, 'acme.img', 'x'), { recursive: true })
  const warnings: string[] = []
  const log: Log = { ...silentLog, warn: (message) => warnings.push(message) }
  assert.equal(open(path, { log }).take(ACME), undefined)
  assert.deepEqual(warnings, ['an image cannot be read', 'an image cannot be removed'])
})

test('an image that is read ahead stays until it is claimed, and is claimed once', async () => {
  const path = newPath()
  const folder = open(path)
  assert.equal(await folder.readAhead(ACME), undefined)
  await folder.write(ACME, PLAIN)
  const ahead = await folder.readAhead(ACME)
  assert.equal(ahead?.stored.stamp, PLAIN.stamp)
  assert.deepEqual(readdirSync(path), ['acme.img'])
  assert.equal(ahead?.claim(), true)
  assert.deepEqual(readdirSync(path), [])
  assert.equal(ahead?.claim(), false)
  assert.equal(folder.take(ACME), undefined)
})

test('an image read ahead is not claimed once anybody did anything with its file', async () => {
  const meanwhile: Record<string, (folder: ImageFolder, path: string) => unknown> = {
    take: (folder) => folder.take(ACME),
    remove: (folder) => folder.remove(ACME),
    letGo: (folder) => folder.letGo(ACME),
    accept: (folder) => folder.accept(ACME),
    write: (folder) => folder.write(ACME, PLAIN),
    'take and write': (folder) => [folder.take(ACME), folder.write(ACME, PLAIN)],
    'read ahead': (folder) => folder.readAhead(ACME),
    'remove behind its back': (_, path) => rmSync(join(path, 'acme.img')),
  }
  for (const [what, act] of Object.entries(meanwhile)) {
    for (const whileReading of [true, false]) {
      const path = newPath()
      const folder = open(path)
      await folder.write(ACME, PLAIN)
      const reading = folder.readAhead(ACME)
      if (!whileReading) await reading
      const done = act(folder, path)
      const ahead = await reading
      await Promise.all([done].flat())
      assert.notEqual(ahead?.claim(), true, `${what}, while reading: ${whileReading}`)
    }
  }
})

test('without bytes nothing is kept, and what is there goes as its tenants wake', async () => {
  const path = newPath()
  await open(path).write(ACME, PLAIN)
  const folder = open(path, { bytesMax: 0 })
  assert.equal(folder.keepsAny, false)
  assert.equal(await folder.write(name('next'), PLAIN), false)
  folder.remove(ACME)
  assert.deepEqual(readdirSync(path), [])
})
