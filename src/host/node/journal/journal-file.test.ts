import assert from 'node:assert/strict'
import fs, { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { JournalFile, readJournalFile } from './journal-file.ts'
import { testFolder } from '../../../../test/support/temporary-folder.ts'

const folder = testFolder()
const FILE_BYTES = 16_384
let count = 0

async function newFile(): Promise<JournalFile> {
  return await JournalFile.make(join(folder, `${++count}`), FILE_BYTES)
}

const read = (file: JournalFile): number[][] => readJournalFile(file.path).map((each) => [...each])
const bytes = fc.uint8Array({ minLength: 1, maxLength: 40 }).map((each) => Uint8Array.from(each))

test('entries are there when their sync is done, whatever is synced with what', async () => {
  const rounds = fc.array(fc.array(bytes, { minLength: 1, maxLength: 4 }), { maxLength: 5 })
  await fc.assert(
    fc.asyncProperty(rounds, async (written) => {
      const file = await newFile()
      file.restart(1)
      const all: number[][] = []
      for (const round of written) {
        for (const entry of round) {
          file.append(entry)
          all.push([...entry])
        }
        await file.sync()
        assert.deepEqual(read(file), all)
      }
      file.close()
    }),
    { numRuns: 15 },
  )
})

test('of what the disk has not got, nothing is an entry, and all before it is', async () => {
  const file = await newFile()
  file.restart(1)
  const entries = Array.from({ length: 6 }, (_, index) => new Uint8Array(50).fill(index + 1))
  for (const entry of entries) file.append(entry)
  await file.sync()
  file.close()
  const whole = readFileSync(file.path)
  const end = 32 + entries.length * 58
  const path = join(folder, 'torn')
  // A head is in one sector of a disk, which has all of it or nothing.
  for (let kept = 0; kept <= end; kept = kept === 0 ? 24 : kept + 6) {
    const expected = Math.max(0, Math.floor((kept - 32) / 58))
    writeFileSync(path, whole.subarray(0, kept))
    assert.equal(readJournalFile(path).length, expected, `cut at ${kept}`)
    // The same, in a file that has its length.
    truncateSync(path, FILE_BYTES)
    assert.equal(readJournalFile(path).length, expected, `zeros from ${kept}`)
  }
  for (let at = 32; at < end; at += 5) {
    const flipped = Buffer.from(whole)
    flipped[at] = (flipped[at] ?? 0) ^ 4
    writeFileSync(path, flipped)
    assert.equal(readJournalFile(path).length, Math.floor((at - 32) / 58), `flipped at ${at}`)
  }
})

test('a head that is damaged is not taken for one that was never written', async () => {
  const file = await newFile()
  file.restart(1)
  file.append(Uint8Array.of(1))
  await file.sync()
  file.close()
  const whole = readFileSync(file.path)
  for (let at = 0; at < 20; at++) {
    const flipped = Buffer.from(whole)
    flipped[at] = (flipped[at] ?? 0) ^ 16
    writeFileSync(file.path, flipped)
    assert.throws(() => readJournalFile(file.path), { code: 'STORE_CORRUPT' }, `flipped at ${at}`)
  }
})

test('a file that cannot be opened is not left behind', async (context) => {
  context.mock.method(fs, 'openSync', () => {
    throw Object.assign(new Error('EMFILE'), { code: 'EMFILE' })
  })
  syncBuiltinESMExports()
  const path = join(folder, 'unopened')
  const made = await JournalFile.make(path, FILE_BYTES).catch((error: unknown) => error)
  context.mock.restoreAll()
  syncBuiltinESMExports()
  assert.equal((made as { code?: string }).code, 'EMFILE')
  assert.equal(existsSync(path), false)
})

test('nothing of a life before is an entry of this one', async () => {
  const file = await newFile()
  file.restart(1)
  for (let entry = 0; entry < 9; entry++) file.append(new Uint8Array(20).fill(1))
  await file.sync()
  file.restart(2)
  file.append(new Uint8Array(20).fill(2))
  await file.sync()
  file.close()
  assert.deepEqual(read(file), [Array(20).fill(2)])
})

test('a file has its length from the beginning, and says when it is full', async () => {
  const file = await newFile()
  assert.deepEqual(read(file), [], 'nothing is promised in a file without a header')
  assert.equal(file.hasRoomFor(1), false, 'nothing is written before it is begun')
  file.restart(1)
  let entries = 0
  for (; file.hasRoomFor(1_000); entries++) file.append(new Uint8Array(1_000).fill(7))
  await file.sync()
  assert.equal(entries, 16)
  assert.equal(read(file).length, entries)
  assert.equal(statSync(file.path).size, FILE_BYTES)
  file.close()
})

test('a file of a pgnap to come is refused, and not taken for an empty one', async () => {
  const file = await newFile()
  file.restart(1)
  file.append(Uint8Array.of(1))
  await file.sync()
  file.close()
  const { crc32 } = await import('node:zlib')
  const other = readFileSync(file.path)
  other.writeUInt32LE(2, 8)
  other.writeUInt32LE(crc32(other.subarray(0, 16)), 16)
  writeFileSync(file.path, other)
  assert.throws(() => readJournalFile(file.path), { code: 'STORE_FORMAT_UNKNOWN', hint: /pgnap/ })
})
