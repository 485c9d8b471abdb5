/**
 * The rows of a large table for pg_dump, which asks for all of them by one COPY. A tenant collects
 * an answer before it sends any of it, and gives up beyond `answerBytesMax`, which costs it its
 * backend. So it is asked for some pages of the table at a time, in the transaction and snapshot
 * that pg_dump has, and the answers are put together as if they were one:
 *
 *     COPY t (a) TO stdout      CopyOutResponse  CopyData...             CopyDone  COPY 9  Ready
 *     pages 0 to 99             CopyOutResponse  CopyData...                -        -       -
 *     pages 100 to 199                 -         CopyData...                -        -       -
 *     pages from 200 on                -         CopyData...             CopyDone  COPY 3  Ready
 *
 * The number of rows is that of the last part, which pg_dump does not look at.
 */
import { fromUtf8 } from '../../../base/bytes.ts'
import { LIMITS } from '../../../base/limits.ts'
import { eachMessage } from '../../../base/message-frames.ts'
import { BACKEND, FRAME_HEAD_BYTES, FRONTEND, frameEnd } from '../../../front/wire/frame.ts'
import type { SqlConnection } from './sql-connection.ts'

export interface DumpedTable {
  /** As it is typed in SQL, and so are the columns. */
  readonly name: string
  readonly columns: string
}

/** As pg_dump asks for the rows of a table. */
const COPY_TABLE =
  /^COPY ((?:(?:"(?:[^"]|"")*"|[^\s".()]+)\.)?(?:"(?:[^"]|"")*"|[^\s".()]+)) \((.+)\) TO stdout;$/s

/** The table that a message of pg_dump asks for all rows of; undefined if it is about others. */
export function tableOf(message: Uint8Array): DumpedTable | undefined {
  const isWhole = frameEnd(message, 0, message.length) === message.length
  if (message[0] !== FRONTEND.query || !isWhole) return undefined
  const [, name, columns] =
    COPY_TABLE.exec(fromUtf8(message.subarray(FRAME_HEAD_BYTES, message.length - 1))) ?? []
  return name === undefined || columns === undefined ? undefined : { name, columns }
}

/**
 * Its rows as the answer to one COPY, in pieces of the protocol.
 * @param partBytes of the table on disk. Default: `LIMITS.dumpCopyBytes`
 */
export async function* tableInParts(
  connection: Pick<SqlConnection, 'run' | 'answersTo'>,
  { name, columns }: DumpedTable,
  partBytes: number = LIMITS.dumpCopyBytes,
): AsyncGenerator<Uint8Array> {
  const { pages, bytes } = await sizeOf(connection, name)
  const step = bytes <= partBytes ? pages : Math.max(1, Math.floor((partBytes * pages) / bytes))
  let isFirst = true
  let isLast = false
  for (let page = 0; !isLast; page += step) {
    // What has been added since has no row in the snapshot; the last part may as well have it.
    isLast = page + step >= pages
    const end = isLast ? '' : ` AND ctid < '(${page + step},0)'`
    const rows = `SELECT ${columns} FROM ONLY ${name} WHERE ctid >= '(${page},0)'${end}`
    const sql =
      isFirst && isLast ? `COPY ${name} (${columns}) TO stdout` : `COPY (${rows}) TO stdout`
    for await (const messages of connection.answersTo(sql)) {
      // An error is the end, whatever was to come.
      eachMessage(messages, (kind) => (isLast ||= kind === BACKEND.errorResponse))
      yield* without(messages, (kind) => {
        return (!isFirst && BEGINS.has(kind)) || (!isLast && ENDS.has(kind))
      })
    }
    isFirst = false
  }
}

/** Messages with which an answer begins, and ends. */
const BEGINS: ReadonlySet<number> = new Set([BACKEND.copyOutResponse])
const ENDS: ReadonlySet<number> = new Set([
  // The same letter in both directions.
  FRONTEND.copyDone,
  BACKEND.commandComplete,
  BACKEND.readyForQuery,
])

/** What of `messages` is to be passed on, as views. */
function without(messages: Uint8Array, isDropped: (kind: number) => boolean): Uint8Array[] {
  const kept: Uint8Array[] = []
  let from = 0
  eachMessage(messages, (kind = 0, at, end) => {
    if (!isDropped(kind)) return
    if (at > from) kept.push(messages.subarray(from, at))
    from = end
  })
  if (from < messages.length) kept.push(messages.subarray(from))
  return kept
}

/** In pages of its own, and in bytes with what lies outside of them (TOAST). */
async function sizeOf(
  connection: Pick<SqlConnection, 'run'>,
  name: string,
): Promise<{ readonly pages: number; readonly bytes: number }> {
  // Quoted so that it does not depend on standard_conforming_strings.
  const table = `E'${name.replaceAll(/['\\]/g, '\\$&')}'::pg_catalog.regclass`
  const { result } = await connection.run(
    `SELECT pg_catalog.pg_relation_size(${table})
       / pg_catalog.current_setting('block_size')::pg_catalog.int8,
     pg_catalog.pg_table_size(${table})`,
  )
  const [pages, bytes] = (result.rows[0] ?? []).map(Number)
  return { pages: pages ?? 0, bytes: bytes ?? 0 }
}
