import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NAMES_PER_TURN, NameSorter } from './name-sorter.ts'
import { SortedNames } from './sorted-names.ts'

/** Short ones, so that they meet; and runs of them, so that chunks are divided. */
const name = fc.oneof(
  fc.stringMatching(/^[a-c0-2][a-c0-2_-]{0,3}$/),
  fc.nat({ max: 700 }).map((index) => `tenant-${index}`),
)
const change = fc.record({ name, kind: fc.constantFrom('add', 'add', 'delete') })

test('names are what a plain sorted set holds, whatever is added and deleted', () => {
  let divided = 0
  fc.assert(
    fc.property(
      fc.uniqueArray(name, { maxLength: 600, size: 'max' }),
      fc.array(change, { maxLength: 300, size: 'max' }),
      fc.array(fc.tuple(name, fc.nat({ max: 400 })), { minLength: 1 }),
      (initial, changes, pages) => {
        const model = new Set(initial)
        const names = new SortedNames<string>()
        names.append(initial.toSorted())
        for (const change of changes) {
          names[change.kind](change.name)
          model[change.kind](change.name)
        }
        const all = [...model].toSorted()
        assert.equal(names.count, all.length)
        assert.equal(names.last, all.at(-1))
        assert.deepEqual(names.after('', Infinity), all)
        if (all.length > 256) divided++
        for (const [after, count] of pages) {
          const expected = all.filter((each) => each > after).slice(0, count)
          assert.deepEqual(names.after(after, count), expected)
        }
      },
    ),
    { seed: 1 },
  )
  assert.ok(divided > 0, 'some sets were larger than a chunk')
})

test('names that come in order fill chunks', () => {
  const names = new SortedNames<string>()
  const all = Array.from({ length: 2_000 }, (_, index) => `t${String(index).padStart(4, '0')}`)
  for (const each of all) names.add(each)
  assert.deepEqual(names.after('', Infinity), all)
  for (const each of all) names.delete(each)
  assert.equal(names.count, 0)
  assert.equal(names.last, undefined)
  assert.deepEqual(names.after('', 10), [])
  names.add('again')
  assert.deepEqual(names.after('', 10), ['again'])
})

test('names cannot be appended out of order', () => {
  const names = new SortedNames<string>()
  names.append(['b'])
  assert.throws(() => names.append(['a']), /in order/)
  assert.throws(() => names.append(['b']), /in order/)
})

test('the sorter gives the first names of all, each once', async () => {
  let cut = 0
  const pieces = fc.array(fc.array(name, { maxLength: 40, size: 'max' }), {
    maxLength: 30,
    size: 'max',
  })
  await fc.assert(
    fc.asyncProperty(pieces, fc.integer({ min: 1, max: 300 }), async (pieces, countMax) => {
      const sorter = new NameSorter<string>({ countMax, giveWay: async () => {} })
      for (const piece of pieces) await sorter.add(piece)
      const sorted = await sorter.finish()
      const all = [...new Set(pieces.flat())].toSorted()
      assert.deepEqual(sorted.after('', Infinity), all.slice(0, countMax))
      assert.equal(sorter.complete, all.length <= countMax)
      if (!sorter.complete) cut++
    }),
    { seed: 1 },
  )
  assert.ok(cut > 0, 'some had more names than are kept')
})

test('the sorter gives way once for every thousand names that it has in hand', async () => {
  let turns = 0
  const giveWay = async (): Promise<void> => void turns++
  const sorter = new NameSorter<string>({ countMax: 100_000, giveWay })
  const pieceCount = 64
  for (let piece = 0; piece < pieceCount; piece++) {
    const names = Array.from({ length: NAMES_PER_TURN }, (_, at) => `t${at * pieceCount + piece}`)
    await sorter.add(names)
  }
  // Sorted once, merged once for each doubling, and taken into the result.
  const doublings = Math.log2(pieceCount)
  assert.equal(turns, pieceCount * (1 + doublings))
  const sorted = await sorter.finish()
  assert.equal(turns, pieceCount * (1 + doublings + 2))
  assert.equal(sorted.count, pieceCount * NAMES_PER_TURN)
})
