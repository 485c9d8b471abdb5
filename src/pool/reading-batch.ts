/**
 * What can be told of a batch that is to be run in a fork: before, whether it is worth a try, and
 * afterwards, which prepared statements of its client it has made or closed.
 *
 * The first is a guess by the first word of each statement and may be wrong in both directions: the
 * fork itself tells who has written (`write-watch.ts`), and who waits without need waits as it
 * would without forks. The second has to be exact, because the statements are made again in the
 * backend itself: it counts what Postgres says it has done, message by message.
 */

import { concatBytes, textAt, utf8 } from '../base/bytes.ts'
import { message, SYNC } from '../base/protocol-message.ts'
import { skipGap } from '../base/sql-gap.ts'
import type { FloatingTransaction } from './floating-transaction.ts'
import { eachMessage, piecesOf } from '../base/message-frames.ts'
import { tellsOfMore } from './telltale-words.ts'

const QUERY = 0x51
const PARSE = 0x50
const BIND = 0x42
const DESCRIBE = 0x44
const CLOSE = 0x43
const FLUSH = 0x48
const PARSE_COMPLETE = 0x31
const CLOSE_COMPLETE = 0x33
const READY_FOR_QUERY = 0x5a
const OF_STATEMENT = 0x53
/** The data of a COPY, and the call of a function by its number. */
const NEVER: ReadonlySet<number> = new Set([0x64, 0x63, 0x66, 0x46])
/** What leaves no portal behind, nor has done anything yet, when its end is not there. */
const HARMLESS: ReadonlySet<number> = new Set([PARSE, DESCRIBE, CLOSE, FLUSH])

const READS = new RegExp(
  String.raw`(?:$|(?:select|with|values|table|show|explain|set|reset|execute|fetch)\b|` +
    String.raw`(?:discard|deallocate|close|unlisten)\b|` +
    String.raw`copy\b[\s\S]*\bto\s+stdout\b|(?:commit|end|rollback|abort)\b)`,
  'iy',
)
/** A transaction that can float (`floating-transaction.ts`). */
const BEGINS = /(?:begin|start)\b/iy
const BEGINS_ALONE = /(?:begin|start)\b[^;]*;?\s*$/iy
const KEEPS_SNAPSHOT = /\b(?:repeatable|serializable)\b/i
/** What only makes a session as new, sets something in it, or ends a transaction. */
const SURELY = new RegExp(
  String.raw`(?:$|(?:set|show|reset|commit|end|rollback|abort)\b|` +
    String.raw`(?:discard|deallocate|close|unlisten)\b|` +
    String.raw`select\s+pg_advisory_unlock_all\(\)\s*(?:;|$))`,
  'iy',
)
/** Without a query: nothing of it needs a snapshot. */
const NEEDS_NONE = /(?:$|(?:set|show|commit|end|rollback|abort|begin|start)\b)/iy

/** What lasts until the end of its transaction, or is to be there already, does not float. */
const LASTS = /(?:set(?!\s+transaction\b)|reset|fetch|close|discard|unlisten)\b/iy

/** Statements that a client has prepared, by name: what made them, or that they are closed. */
export type SaidStatements = Map<string, Uint8Array | undefined>

/**
 * Whether a batch may be one that only reads, and in which it begins a transaction. `surely`: there
 * is nothing in it that could turn out to be more.
 */
export type Reading = 'no' | 'reads' | 'surely' | 'begins'

/**
 * @param complete whether it ends with a Sync or a simple query
 * @param writers statements of its client that are known to do more
 * @param floating the transaction that it is one of, if that floats
 */
export function readingOf(
  messages: Uint8Array,
  complete: boolean,
  writers: ReadonlySet<string>,
  floating?: Pick<FloatingTransaction, 'keepsSnapshot'>,
): Reading {
  let may = true
  let begins = false
  let needsNone = true
  let keeps = floating?.keepsSnapshot === true
  let surely = complete
  const own = new Set<string>()
  const look = (sql: string): void => {
    const isBegin = beginsWith(BEGINS, sql)
    begins ||= isBegin
    // What stands behind it: a guess, since a semicolon may be part of a text.
    may &&= !(floating && beginsWith(LASTS, sql))
    const parts = isBegin ? behindBegin(sql) : [sql]
    may &&= parts.every((part) => beginsWith(READS, part))
    may &&= !tellsOfMore(sql)
    // The snapshot that it keeps it is to take in the backend.
    const behind = [sql, ...behindBegin(sql)]
    surely &&= behind.every((part) => beginsWith(SURELY, part))
    needsNone &&= behind.every((part) => beginsWith(NEEDS_NONE, part))
    keeps ||= isBegin && KEEPS_SNAPSHOT.test(sql)
  }
  eachMessage(messages, (type = 0, at) => {
    if (NEVER.has(type) || (!complete && !HARMLESS.has(type))) may = false
    if (type === QUERY) look(textAt(messages, at + 5))
    if (type === PARSE) {
      own.add(textAt(messages, at + 5))
      look(textAt(messages, messages.indexOf(0, at + 5) + 1))
    }
    if (type === BIND) {
      const name = textAt(messages, messages.indexOf(0, at + 5) + 1)
      may &&= own.has(name) || !writers.has(name)
      needsNone &&= own.has(name)
      surely &&= own.has(name)
    }
  })
  if (keeps && !needsNone) return 'no'
  if (!may) return 'no'
  return begins ? 'begins' : surely ? 'surely' : 'reads'
}

/** Whether a batch consists of a BEGIN and nothing else. */
export function onlyBegins(messages: Uint8Array): boolean {
  if (messages[0] !== QUERY || !beginsWith(BEGINS_ALONE, textAt(messages, 5))) return false
  return messages.length === 1 + new DataView(messages.buffer, messages.byteOffset).getUint32(1)
}

/** Whether a sticky pattern matches the first word, behind blanks, comments, `(` and `;`. */
function beginsWith(pattern: RegExp, sql: string): boolean {
  let at = skipGap(sql, 0)
  while (sql[at] === '(' || sql[at] === ';') at = skipGap(sql, at + 1)
  pattern.lastIndex = at
  return pattern.test(sql)
}

const behindBegin = (sql: string): string[] => sql.split(';').slice(1)

/** Names of the statements that a batch binds and does not make. */
export function boundStatements(messages: Uint8Array): string[] {
  const names: string[] = []
  eachMessage(messages, (type, at) => {
    if (type === BIND) names.push(textAt(messages, messages.indexOf(0, at + 5) + 1))
  })
  return names
}

/**
 * What a batch that was answered in full has done to its client's statements, in order. Undefined:
 * it cannot be told, because a simple query was skipped with what failed before it, or a name is in
 * another encoding.
 */
export function saidIn(messages: Uint8Array, answer: Uint8Array): SaidStatements | undefined {
  const said: SaidStatements = new Map()
  const done = doneIn(answer)
  const pieces = piecesOf(messages)
  if (pieces.length !== done.length) return undefined
  let isReadable = true
  for (const [index, piece] of pieces.entries()) {
    let { parsed, closed } = done[index] ?? { parsed: 0, closed: 0 }
    eachMessage(piece, (type, at, end) => {
      // A simple query drops the unnamed statement before it does anything.
      if (type === QUERY) note(said, '', undefined)
      if (type === PARSE && parsed-- > 0) {
        // Of a Node Buffer `slice` is only a view.
        isReadable &&= !isUnreadable(textAt(piece, at + 5))
        note(said, textAt(piece, at + 5), new Uint8Array(piece.subarray(at, end)))
      }
      if (type !== CLOSE || closed-- <= 0) return
      if (piece[at + 5] !== OF_STATEMENT) return
      isReadable &&= !isUnreadable(textAt(piece, at + 6))
      note(said, textAt(piece, at + 6), undefined)
    })
  }
  return isReadable ? said : undefined
}

/** Says again what was said last of each statement, whatever there is of that name. */
export function sayAgain(said: SaidStatements | undefined): Uint8Array[] {
  return [...(said ?? [])].map(([name, parse]) => {
    const close = message('C', utf8(`S${name}\0`))
    return concatBytes(parse ? [close, parse, SYNC] : [close, SYNC])
  })
}

/** What takes back what was prepared by name. */
export function unsaid(said: SaidStatements | undefined): SaidStatements {
  const prepared = [...(said ?? [])].filter(([name, parse]) => parse && name !== '')
  return new Map(prepared.map(([name]) => [name, undefined]))
}

/** Whether a name is not text of UTF-8: others might be mistaken for it. */
const isUnreadable = (name: string): boolean => name.includes('\ufffd')

function note(said: SaidStatements, name: string, parse: Uint8Array | undefined): void {
  said.delete(name)
  said.set(name, parse)
}

/** How many messages of either kind were carried out, up to each ReadyForQuery. */
function doneIn(answer: Uint8Array): { readonly parsed: number; readonly closed: number }[] {
  const done: { parsed: number; closed: number }[] = []
  let [parsed, closed] = [0, 0]
  eachMessage(answer, (type) => {
    if (type === PARSE_COMPLETE) parsed++
    if (type === CLOSE_COMPLETE) closed++
    if (type !== READY_FOR_QUERY) return
    done.push({ parsed, closed })
    parsed = closed = 0
  })
  return done
}
