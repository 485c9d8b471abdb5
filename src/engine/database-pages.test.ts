import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromUtf8, utf8 } from '../base/bytes.ts'
import { PAGE_BYTES } from '../store/file-node.ts'
import {
  DATABASE_ID,
  keyIn,
  keysOf,
  linesToOwnRow,
  nameKeys,
  nameRows,
  paddedName,
} from './database-pages.ts'

const SPECIAL = PAGE_BYTES - 16
const LEAF_AND_ROOT = 3
const NORMAL = 1
const REDIRECT = 2

function emptyPage(special: number): [Uint8Array, DataView] {
  const page = new Uint8Array(PAGE_BYTES)
  const view = new DataView(page.buffer)
  view.setUint16(12, 24, true)
  view.setUint16(14, special, true)
  view.setUint16(16, special, true)
  view.setUint16(18, PAGE_BYTES | 4, true)
  return [page, view]
}

/** The next line pointer; whatever it points at goes below what is there. */
function addLine(view: DataView, flags: number, length: number, at?: number): number {
  const lower = view.getUint16(12, true)
  const upper = view.getUint16(14, true) - (at === undefined ? Math.ceil(length / 8) * 8 : 0)
  view.setUint32(lower, (at ?? upper) | (flags << 15) | (length << 17), true)
  view.setUint16(12, lower + 4, true)
  view.setUint16(14, upper, true)
  return upper
}

interface Row {
  readonly id: number
  readonly name: string
}

/** Rows of `pg_database` on lines from 1 on. */
function rowPage(rows: readonly Row[]): [Uint8Array, DataView] {
  const [page, view] = emptyPage(PAGE_BYTES)
  for (const { id, name } of rows) {
    const at = addLine(view, NORMAL, 138)
    page[at + 22] = 32
    view.setUint32(at + 32, id, true)
    page.set(paddedName(name), at + 36)
  }
  return [page, view]
}

const namesIn = (page: Uint8Array, view: DataView, lines: readonly number[]): string[] =>
  lines.map((line) => {
    const at = view.getUint32(24 + 4 * (line - 1), true) & 0x7fff
    return fromUtf8(page.slice(at + 36, page.indexOf(0, at + 36)))
  })

/** Keys for the rows on lines from 1 on, in order of the keys. */
function keyPage(keys: readonly (readonly [name: string, line: number])[]): Uint8Array {
  const [page, view] = emptyPage(SPECIAL)
  view.setUint16(SPECIAL + 12, LEAF_AND_ROOT, true)
  for (const [name, line] of keys) {
    const bytes = utf8(name)
    const size = Math.ceil((8 + bytes.length + 1) / 8) * 8
    const at = addLine(view, NORMAL, size)
    view.setUint16(at + 4, line, true)
    view.setUint16(at + 6, size | 0x4000, true)
    page.set(bytes, at + 8)
  }
  return page
}

const readKeys = (page: Uint8Array): [string, number][] =>
  (keysOf(page) ?? []).map(({ text, line }) => [fromUtf8(text), line])

const byBytes = (a: [string, number], b: [string, number]): number =>
  Buffer.compare(Buffer.from(a[0]), Buffer.from(b[0])) || a[1] - b[1]

const name = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,62}$/)

test('all versions of the one row get the name, and no other row does', () => {
  const row = fc.record({ id: fc.constantFrom(1, 4, DATABASE_ID, 20_000), name })
  fc.assert(
    fc.property(fc.array(row, { maxLength: 40 }), name, (rows, wanted) => {
      const [page, view] = rowPage(rows)
      const own = rows.filter(({ id }) => id === DATABASE_ID)
      const changes = own.some((each) => each.name !== wanted)
      assert.equal(nameRows(page, wanted), changes)
      assert.equal(nameRows(page, wanted), false, 'once')
      assert.deepEqual(
        namesIn(
          page,
          view,
          [...rows.keys()].map((index) => index + 1),
        ),
        rows.map((each) => (each.id === DATABASE_ID ? wanted : each.name)),
      )
    }),
  )
})

test('lines lead to a row directly, by a redirection, or to nothing', () => {
  const [page, view] = rowPage([
    { id: 1, name: 'template1' },
    { id: DATABASE_ID, name: 'acme' },
  ])
  addLine(view, REDIRECT, 0, 2)
  addLine(view, REDIRECT, 0, 1)
  addLine(view, 0, 0, 0)
  addLine(view, REDIRECT, 0, 30)
  assert.deepEqual(
    [...linesToOwnRow(page)],
    [
      [1, false],
      [2, true],
      [3, true],
      [4, false],
    ],
  )
})

test('keys of the one database get the name, and stand in order', () => {
  const keys = fc.array(fc.tuple(name, fc.boolean()), { maxLength: 60 })
  fc.assert(
    fc.property(keys, name, (made, wanted) => {
      const before = made.map(([text], line): [string, number] => [text, line + 1])
      const isOwn = (line: number): boolean => made[line - 1]?.[1] === true
      const page = keyPage(before.toSorted(byBytes))
      nameKeys(page, wanted, (_, line) => isOwn(line))
      const after = before.map(([text, line]): [string, number] => [
        isOwn(line) ? wanted : text,
        line,
      ])
      assert.deepEqual(readKeys(page), after.toSorted(byBytes))
      assert.equal(
        nameKeys(page, wanted, (_, line) => isOwn(line)),
        false,
        'once',
      )
    }),
  )
})

test('a page of keys that is not the only one, or has no room, stays as it is', () => {
  const page = keyPage([
    ['acme', 1],
    ['template0', 2],
  ])
  new DataView(page.buffer).setUint32(SPECIAL + 4, 7, true)
  assert.equal(
    nameKeys(page, 'beta', () => true),
    false,
  )
  assert.equal(
    keyIn(page, (_, line) => line === 1),
    'acme',
    'but tells what the name was',
  )
  assert.equal(
    keyIn(page, () => false),
    undefined,
  )
  const full = keyPage(Array.from({ length: 280 }, (_, line) => [`${1000 + line}`, line + 1]))
  const before = full.slice()
  assert.equal(
    nameKeys(full, 'z'.repeat(63), () => true),
    false,
  )
  assert.deepEqual(full, before)
})

test('whatever a page holds, nothing throws', () => {
  const bytes = fc.uint8Array({ minLength: PAGE_BYTES, maxLength: PAGE_BYTES })
  fc.assert(
    fc.property(bytes, fc.nat({ max: 200 }), (page, lineCount) => {
      const view = new DataView(page.buffer)
      view.setUint16(18, PAGE_BYTES | 4, true)
      view.setUint16(12, 24 + 4 * lineCount, true)
      view.setUint16(16, SPECIAL, true)
      view.setBigUint64(SPECIAL, 0n)
      view.setUint32(SPECIAL + 8, 0)
      view.setUint16(SPECIAL + 12, LEAF_AND_ROOT, true)
      linesToOwnRow(page)
      nameRows(page, 'acme')
      nameKeys(page, 'acme', () => true)
      keyIn(page, () => true)
    }),
    { numRuns: 200 },
  )
})
