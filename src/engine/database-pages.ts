/**
 * What a database is called, in the two files that say so: `pg_database` and its index by name.
 *
 * Every tenant is the one database that initdb makes beside the templates, so that in its files it
 * is called `postgres`, or whatever it was called when one of these pages was last written. Here
 * pages are made to say the name that it has now. What a page of the index says of order is put in
 * order as well. Line pointers of rows stay what they are, so that an index entry, the WAL and a
 * transaction that is under way find the row that they mean.
 *
 * Source: Postgres 18, bufpage.h (PageHeaderData, ItemIdData), htup_details.h, pg_database.h,
 * itup.h (IndexTupleData), nbtree.h (BTPageOpaqueData).
 */
import { fromUtf8, utf8 } from '../base/bytes.ts'
import { PAGE_BYTES } from '../store/file-node.ts'

/** Object id of the database that initdb makes beside the templates. */
export const DATABASE_ID = 5
/** Room for a name, which ends in a zero byte. */
export const NAME_BYTES = 64

const LOWER_AT = 12
const UPPER_AT = 14
const SPECIAL_AT = 16
const LAYOUT_AT = 18
/** Page size and version of the layout, in one number. */
const LAYOUT = PAGE_BYTES | 4
const LINES_AT = 24
const LINE_BYTES = 4
/** enum of line pointers; one that is dead may still have its tuple. */
const LINE_NORMAL = 1
const LINE_REDIRECT = 2
const HEADER_BYTES_AT = 22
/** struct FormData_pg_database begins with its id. */
const NAME_AT = 4

const SPECIAL_BYTES = 16
const NEXT_AT = 4
const LEVEL_AT = 8
const FLAGS_AT = 12
const LEAF = 1
const ROOT = 2
/** Flags that may be set on a page that is leaf and root; garbage only says that there is some. */
const HAS_GARBAGE = 1 << 6
const KEY_INFO_AT = 6
const KEY_AT = 8
/** Of `t_info`: the size, and that the tuple is no ordinary one. */
const KEY_SIZE_MASK = 0x1fff
const KEY_IS_LIST = 0x2000
const KEY_ALIGNMENT = 8

/** Whether a row is that of the one database: its block, its line from 1 on, its key. */
export type RowPlace = (block: number, line: number, key: string) => boolean

interface Line {
  /** From 1 on. */
  readonly number: number
  readonly at: number
  readonly flags: number
  readonly length: number
}

const viewOf = (page: Uint8Array): DataView =>
  new DataView(page.buffer, page.byteOffset, page.byteLength)

/** Line pointers of a page; none if it is none. */
function linesOf(page: Uint8Array): Line[] {
  const view = viewOf(page)
  const end = view.getUint16(LOWER_AT, true)
  if (view.getUint16(LAYOUT_AT, true) !== LAYOUT || end > PAGE_BYTES) return []
  const lines: Line[] = []
  for (let at = LINES_AT; at < end; at += LINE_BYTES) {
    const word = view.getUint32(at, true)
    const number = lines.length + 1
    lines.push({ number, at: word & 0x7fff, flags: (word >>> 15) & 3, length: word >>> 17 })
  }
  return lines
}

/** Where the rows of the one database begin, in a page of `pg_database`, by line number. */
function ownRows(page: Uint8Array): Map<number, number> {
  const view = viewOf(page)
  const rows = new Map<number, number>()
  for (const { number, at, flags, length } of linesOf(page)) {
    if (flags !== LINE_NORMAL || at + length > PAGE_BYTES) continue
    const row = at + (page[at + HEADER_BYTES_AT] ?? 0)
    if (row + NAME_AT + NAME_BYTES > at + length) continue
    if (view.getUint32(row, true) === DATABASE_ID) rows.set(number, row)
  }
  return rows
}

/**
 * What the lines of a page of `pg_database` lead to: the one database (true), another one (false).
 * Those that lead to nothing are missing.
 */
export function linesToOwnRow(page: Uint8Array): Map<number, boolean> {
  const own = ownRows(page)
  const lines = linesOf(page)
  const found = new Map<number, boolean>()
  for (const { number, at, flags } of lines) {
    const target = flags === LINE_REDIRECT ? lines[at - 1] : lines[number - 1]
    if (target?.flags === LINE_NORMAL) found.set(number, own.has(target.number))
  }
  return found
}

/** Makes every version of the row of the one database say `name`. @returns whether any did not */
export function nameRows(page: Uint8Array, name: string): boolean {
  const bytes = paddedName(name)
  let changed = false
  for (const row of ownRows(page).values()) {
    const old = page.subarray(row + NAME_AT, row + NAME_AT + NAME_BYTES)
    if (old.every((byte, index) => byte === bytes[index])) continue
    old.set(bytes)
    changed = true
  }
  return changed
}

/** A name as a row has it. */
export function paddedName(name: string): Uint8Array {
  const bytes = new Uint8Array(NAME_BYTES)
  bytes.set(utf8(name).subarray(0, NAME_BYTES - 1))
  return bytes
}

interface Key {
  readonly flags: number
  readonly block: number
  readonly line: number
  readonly info: number
  readonly text: Uint8Array
}

/** Keys of a page of the index in order; undefined if it is not the only page of keys. */
export function keysOf(page: Uint8Array): readonly Key[] | undefined {
  const view = viewOf(page)
  const special = view.getUint16(SPECIAL_AT, true)
  if (special !== PAGE_BYTES - SPECIAL_BYTES) return undefined
  const isAlone = view.getUint32(special, true) + view.getUint32(special + NEXT_AT, true) === 0
  const flags = view.getUint16(special + FLAGS_AT, true) & ~HAS_GARBAGE
  if (!isAlone || view.getUint32(special + LEVEL_AT, true) !== 0) return undefined
  const keys = flags === (LEAF | ROOT) ? allKeys(page) : undefined
  return keys?.every(({ line }) => line !== 0) ? keys : undefined
}

/** Keys of any page of the index; undefined if it is damaged. Line 0: it is no row's. */
function allKeys(page: Uint8Array): readonly Key[] | undefined {
  const view = viewOf(page)
  const keys: Key[] = []
  for (const { at, flags, length } of linesOf(page)) {
    if (at < LINES_AT || at + length > PAGE_BYTES || length <= KEY_AT) return undefined
    const info = view.getUint16(at + KEY_INFO_AT, true)
    const block = view.getUint16(at, true) * 0x10000 + view.getUint16(at + 2, true)
    const line = info & KEY_IS_LIST ? 0 : view.getUint16(at + 4, true)
    const text = page.slice(at + KEY_AT, page.indexOf(0, at + KEY_AT))
    keys.push({ flags, block, line, info, text })
  }
  return keys
}

/** Whether there is anything in a page: a file grows before it is written. */
export function isInUse(page: Uint8Array): boolean {
  return viewOf(page).getUint16(LAYOUT_AT, true) === LAYOUT
}

/**
 * Makes the entries of the one database say `name`, and puts them in order.
 * @param isOwn which rows are that database's
 * @returns whether the page has changed; it does not if it is not the only one, or full
 */
export function nameKeys(page: Uint8Array, name: string, isOwn: RowPlace): boolean {
  const keys = keysOf(page)
  if (!keys) return false
  const text = utf8(name).subarray(0, NAME_BYTES - 1)
  const named = keys.map((key) =>
    isOwn(key.block, key.line, fromUtf8(key.text)) ? { ...key, text } : key,
  )
  if (named.every((key, index) => compareBytes(key.text, keys[index]?.text ?? text) === 0)) {
    return false
  }
  return writeKeys(page, named.toSorted(compareKeys))
}

function compareKeys(a: Key, b: Key): number {
  return compareBytes(a.text, b.text) || a.block - b.block || a.line - b.line
}

/** As names are compared: by bytes, whatever the locale. */
function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

function writeKeys(page: Uint8Array, keys: readonly Key[]): boolean {
  const view = viewOf(page)
  const special = view.getUint16(SPECIAL_AT, true)
  const lower = LINES_AT + keys.length * LINE_BYTES
  const sizes = keys.map(
    ({ text }) => Math.ceil((KEY_AT + text.length + 1) / KEY_ALIGNMENT) * KEY_ALIGNMENT,
  )
  const upper = special - sizes.reduce((sum, size) => sum + size, 0)
  if (upper < lower) return false
  page.fill(0, lower, special)
  view.setUint16(UPPER_AT, upper, true)
  let at = upper
  for (const [index, { flags, block, line, info, text }] of keys.entries()) {
    const size = sizes[index] ?? 0
    view.setUint32(LINES_AT + index * LINE_BYTES, at | (flags << 15) | (size << 17), true)
    view.setUint16(at, block >>> 16, true)
    view.setUint16(at + 2, block & 0xffff, true)
    view.setUint16(at + 4, line, true)
    view.setUint16(at + KEY_INFO_AT, (info & ~KEY_SIZE_MASK) | size, true)
    page.set(text, at + KEY_AT)
    at += size
  }
  return true
}

/** The name that an index of several pages has for the one database, if one of them tells. */
export function keyIn(page: Uint8Array, isOwn: RowPlace): string | undefined {
  const special = PAGE_BYTES - SPECIAL_BYTES
  const isLeaf = isInUse(page) && ((page[special + FLAGS_AT] ?? 0) & LEAF) !== 0
  const own = isLeaf
    ? allKeys(page)?.find((key) => key.line !== 0 && isOwn(key.block, key.line, fromUtf8(key.text)))
    : undefined
  return own && fromUtf8(own.text)
}
