/**
 * Rows of a table as messages of the protocol, in text or in binary, whichever format a driver asks
 * for: some ask for binary always.
 */
import { PgnapError } from '../../base/errors.ts'
import { BACKEND } from '../wire/frame.ts'
import type { MessageWriter } from '../wire/message-writer.ts'
import type { Cell, Column, ColumnType } from './table.ts'

/** 0 is text, 1 is binary. */
export type Format = 0 | 1

/** Object id and width in bytes (-1: any) of Postgres's type. */
const TYPES: Readonly<Record<ColumnType, readonly [typeOid: number, typeBytes: number]>> = {
  text: [25, -1],
  int4: [23, 4],
  int8: [20, 8],
  float8: [701, 8],
}

const UINT32 = 2 ** 32

export function writeRowDescription(
  out: MessageWriter,
  columns: readonly Column[],
  formats: readonly Format[],
): void {
  out.begin(BACKEND.rowDescription).int16(columns.length)
  columns.forEach(({ name, type }, index) => {
    const [typeOid, typeBytes] = TYPES[type]
    // No table, no column of one, and no modifier of the type.
    out.string(name).int32(0).int16(0).int32(typeOid).int16(typeBytes).int32(-1)
    out.int16(formats[index] ?? 0)
  })
  out.end()
}

export function writeDataRow(
  out: MessageWriter,
  columns: readonly Column[],
  cells: readonly Cell[],
  formats: readonly Format[],
): void {
  out.begin(BACKEND.dataRow).int16(columns.length)
  columns.forEach(({ type }, index) => {
    const cell = cells[index] ?? null
    const isBinary = formats[index] === 1 && typeof cell === 'number'
    if (isBinary) writeBinary(out, type, cell)
    else out.value(cell === null ? null : String(cell))
  })
  out.end()
}

/**
 * One format for each column from what Bind says: none at all means text, one is for all columns.
 * @throws PgnapError PROTOCOL_VIOLATION
 */
export function formatsOf(codes: readonly number[], columnCount: number): Format[] {
  if (codes.some((code) => code !== 0 && code !== 1)) {
    throw new PgnapError('PROTOCOL_VIOLATION', 'unsupported format code in Bind')
  }
  const [only = 0] = codes
  if (codes.length > 1 && codes.length !== columnCount) {
    throw new PgnapError(
      'PROTOCOL_VIOLATION',
      `bind message has ${codes.length} result formats but query has ${columnCount} columns`,
    )
  }
  return Array.from({ length: columnCount }, (_, index) =>
    (codes.length > 1 ? codes[index] : only) === 1 ? 1 : 0,
  )
}

function writeBinary(out: MessageWriter, type: ColumnType, value: number): void {
  switch (type) {
    case 'int4':
      out.int32(4).int32(value)
      break
    case 'int8':
      out
        .int32(8)
        .int32(Math.floor(value / UINT32))
        .int32(value >>> 0)
      break
    case 'float8': {
      const bytes = new Uint8Array(8)
      new DataView(bytes.buffer).setFloat64(0, value)
      out.int32(8).bytes(bytes)
      break
    }
    case 'text':
      out.value(String(value))
  }
}
