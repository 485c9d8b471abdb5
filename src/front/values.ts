/**
 * Values between JavaScript and Postgres's text format: parameters in, columns out. HTTP and the
 * library share it, so that a value looks the same whichever way it was asked for.
 *
 * | Postgres                     | over HTTP (JSON)            | in the library           |
 * |------------------------------|-----------------------------|--------------------------|
 * | bool                         | boolean                     | boolean                  |
 * | int2, int4                   | number                      | number                   |
 * | float4, float8               | number; NaN, Infinity: text | number                   |
 * | json, jsonb                  | the value                   | the value                |
 * | bytea                        | text, `\x...`               | Uint8Array               |
 * | arrays of known types        | array of the above          | array of the above       |
 * | int8, numeric, dates, others | text                        | text                     |
 *
 * int8 and numeric stay text because a JavaScript number would change them, and a bigint cannot
 * become JSON. Dates and timestamps stay text because a Date has milliseconds and Postgres has
 * microseconds: a row read and compared again would not be found; and `date` is no moment in time
 * at all. Who wants another type gives a reader of their own for it.
 *
 * It must never guess: a type that is not in the tables below stays the text that Postgres wrote.
 */
import { AssertionError } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'
import { readArrayLiteral, writeArrayLiteral } from './array-literal.ts'
import type { ResultSet } from './wire/result.ts'

/** What becomes of a value's text. Must not throw on anything that Postgres writes for its type. */
export type ValueReader = (text: string) => unknown

/** The reader of a type, by its OID. */
export type ValueReaders = (typeOid: number) => ValueReader

const OID = {
  bool: 16,
  bytea: 17,
  int2: 21,
  int4: 23,
  json: 114,
  float4: 700,
  float8: 701,
  jsonb: 3802,
} as const

/**
 * Array types of Postgres 18 whose text is an array literal with commas: array OID to element OID.
 */
const ELEMENT_OIDS: ReadonlyMap<number, number> = new Map([
  [1000, OID.bool],
  [1001, OID.bytea],
  [1005, OID.int2],
  [1007, OID.int4],
  [199, OID.json],
  [1021, OID.float4],
  [1022, OID.float8],
  [3807, OID.jsonb],
  // Elements that stay text: "char", name, text, bpchar, varchar, int8, oid, numeric, uuid, dates,
  // ...
  ...([
    [1002, 18],
    [1003, 19],
    [1016, 20],
    [1008, 24],
    [1009, 25],
    [1028, 26],
    [143, 142],
    [651, 650],
    [1041, 869],
    [791, 790],
    [1040, 829],
    [775, 774],
    [1014, 1042],
    [1015, 1043],
    [1182, 1082],
    [1183, 1083],
    [1115, 1114],
    [1185, 1184],
    [1187, 1186],
    [1270, 1266],
    [1561, 1560],
    [1563, 1562],
    [1231, 1700],
    [2951, 2950],
    [3221, 3220],
    [3643, 3614],
    [3645, 3615],
    [4073, 4072],
    [3905, 3904],
    [3907, 3906],
    [3909, 3908],
    [3911, 3910],
    [3913, 3912],
    [3927, 3926],
  ] as const),
])

/**
 * Dimensions of an array, as in Postgres (MAXDIM). Keeps arrays that contain themselves out, too.
 */
const ARRAY_DEPTH_MAX = 6

const asText: ValueReader = (text) => text

const SHARED_READERS: readonly (readonly [number, ValueReader])[] = [
  [OID.bool, (text) => text === 't'],
  [OID.int2, Number],
  [OID.int4, Number],
  [OID.json, readJson],
  [OID.jsonb, readJson],
]

/** Readers for answers in JSON: nothing that JSON could not carry. */
export const jsonReaders: ValueReaders = readersOf([
  ...SHARED_READERS,
  [OID.float4, readFiniteNumber],
  [OID.float8, readFiniteNumber],
])

/** Readers of the library. */
export const libraryReaders: ValueReaders = readersOf([
  ...SHARED_READERS,
  [OID.float4, Number],
  [OID.float8, Number],
  [OID.bytea, readBytes],
])

/** Every value as Postgres wrote it. */
export const textReaders: ValueReaders = () => asText

/**
 * `readers`, except for the types that `own` names by OID; arrays of those are read by it as well.
 */
export function withOwnReaders(
  readers: ValueReaders,
  own: Readonly<Record<number, ValueReader>>,
): ValueReaders {
  return (typeOid) => {
    const reader = own[typeOid]
    if (reader) return reader
    const elementOid = ELEMENT_OIDS.get(typeOid)
    const elementReader = elementOid === undefined ? undefined : own[elementOid]
    return elementReader ? arrayReader(elementReader) : readers(typeOid)
  }
}

/** Rows as arrays, in the order of the columns. */
export function readRowArrays(result: ResultSet, readers: ValueReaders): unknown[][] {
  const columns = result.fields.map((field) => readers(field.typeOid))
  return result.rows.map((row) =>
    row.map((text, index) => (text === null ? null : (columns[index] ?? asText)(text))),
  )
}

/**
 * Rows as objects by column name. Of columns with one name the last one wins, as in node-postgres.
 */
export function readRowObjects(
  result: ResultSet,
  readers: ValueReaders,
): Record<string, unknown>[] {
  const names = result.fields.map((field) => field.name)
  // fromEntries defines properties and does not assign them: a column may be called __proto__.
  return readRowArrays(result, readers).map((row) =>
    Object.fromEntries(row.map((value, index) => [names[index] ?? '', value])),
  )
}

/** Parameters in text form. Throws REQUEST_INVALID, naming the parameter that has none. */
export function encodeParameters(values: readonly unknown[]): (string | null)[] {
  return values.map((value, index) => encodeParameter(value, `$${index + 1}`))
}

/**
 * A parameter in text form; null is NULL. Numbers, bigints and booleans become their text, a Date
 * its moment in UTC, bytes `\x` and hex, an array a Postgres array, any other object its JSON. An
 * array that is meant as json has to be given as text (JSON.stringify), since nothing tells the
 * two apart.
 * @param name the parameter in the error's words
 */
export function encodeParameter(value: unknown, name: string): string | null {
  if (value === null) return null
  switch (typeof value) {
    case 'string':
      // Written as UTF-8 it would be another text.
      if (!value.isWellFormed()) throw unfit(name, 'holds half of a surrogate pair')
      return value
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value)
    case 'bigint':
    case 'boolean':
      return String(value)
    case 'object':
      return encodeObject(value, name)
    case 'undefined':
    case 'function':
    case 'symbol':
      throw unfit(name, `is of type ${typeof value}`)
    default:
      throw new AssertionError('typeof knows no other types')
  }
}

function encodeObject(value: object, name: string): string {
  if (Array.isArray(value)) {
    if (isDeeperThan(value, ARRAY_DEPTH_MAX)) {
      throw unfit(name, `is an array of more than ${ARRAY_DEPTH_MAX} dimensions`)
    }
    return writeArrayLiteral(value, (element) => encodeParameter(element, `an element of ${name}`))
  }
  if (ArrayBuffer.isView(value)) {
    return writeBytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
  }
  if (isDate(value)) return writeDate(value, name)
  try {
    return JSON.stringify(value)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause)
    throw unfit(name, `cannot become JSON: ${reason}`)
  }
}

function isDeeperThan(value: readonly unknown[], depth: number): boolean {
  if (depth === 0) return true
  return value.some((each) => Array.isArray(each) && isDeeperThan(each, depth - 1))
}

function unfit(name: string, problem: string): PgnapError {
  return new PgnapError('REQUEST_INVALID', `parameter ${name} ${problem}`, {
    hint: 'pass null for NULL; text, numbers, booleans, dates, bytes, arrays and objects are fine',
  })
}

/** By its tag: a pure room does not know the class, and a Date may come from another realm. */
function isDate(value: object): value is { toISOString(): string; getTime(): number } {
  return Object.prototype.toString.call(value) === '[object Date]'
}

/**
 * ISO 8601 as Postgres reads it: it wants no sign before long years, and BC for those before year
 * 1.
 */
function writeDate(date: { toISOString(): string; getTime(): number }, name: string): string {
  if (Number.isNaN(date.getTime())) throw unfit(name, 'is an invalid Date')
  const text = date.toISOString()
  const [, year = '', rest = ''] = /^([+-]?\d+)(-.*)$/.exec(text) ?? []
  if (Number(year) >= 1) return `${year.replace('+', '').replace(/^0+(?=\d{4})/, '')}${rest}`
  return `${String(1 - Number(year)).padStart(4, '0')}${rest} BC`
}

function readersOf(entries: readonly (readonly [number, ValueReader])[]): ValueReaders {
  const readers = new Map(entries)
  for (const [arrayOid, elementOid] of ELEMENT_OIDS) {
    readers.set(arrayOid, arrayReader(readers.get(elementOid) ?? asText))
  }
  return (typeOid) => readers.get(typeOid) ?? asText
}

function arrayReader(element: ValueReader): ValueReader {
  return (text) => readArrayLiteral(text, element) ?? text
}

/** Numbers that JSON knows; the others stay text. */
function readFiniteNumber(text: string): number | string {
  const value = Number(text)
  return Number.isFinite(value) ? value : text
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Postgres has checked it, but its json allows what JavaScript may not; the text is always
    // right.
    return text
  }
}

/** `\x` and hex, as bytea_output = hex writes it; the old escape format stays text. */
function readBytes(text: string): Uint8Array | string {
  if (!/^\\x(?:[0-9a-f]{2})*$/.test(text)) return text
  const bytes = new Uint8Array((text.length - 2) / 2)
  for (let index = 0; index < bytes.length; index++) {
    bytes[index] = Number.parseInt(text.slice(2 + index * 2, 4 + index * 2), 16)
  }
  return bytes
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

function writeBytes(bytes: Uint8Array): string {
  let text = '\\x'
  for (const byte of bytes) text += HEX[byte]
  return text
}
