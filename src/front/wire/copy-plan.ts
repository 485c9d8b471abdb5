/**
 * Finds COPY ... FROM STDIN in what a client sends, before the backend sees it. The backend runs a
 * statement in one synchronous call and cannot wait in its middle for bytes that a client has not
 * sent yet, so whoever feeds it must know beforehand that data has to be collected first.
 *
 * Finding too much would make a client wait for data that it never sends, finding too little would
 * make a backend read past its input: so the grammar of COPY is followed, not a pattern of words.
 * The usual message pays a search for four letters and nothing else.
 */
import { fromBytes } from '../../base/bytes.ts'
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { FRONTEND } from './frame.ts'
import { withoutTrails } from './trail-bytes.ts'
import { SqlLexer, type TokenKind } from '../../base/sql-lexer.ts'

/** What can be known of one COPY FROM STDIN from its text. */
export interface CopyShape {
  /** Length of the column list; 0 if there is none, because only the catalog knows it then. */
  readonly columnCount: number
  readonly binary: boolean
  /** COPY FREEZE cannot be tried beforehand: it depends on the subtransaction it runs in. */
  readonly freeze: boolean
}

export interface CopyPlan {
  /** In the order of the statements; at least one. */
  readonly shapes: readonly CopyShape[]
  /** The COPY is the only statement. */
  readonly alone: boolean
}

/** What is kept of one COPY, about: an object of three values. */
const SHAPE_BYTES = 64

/** What a plan takes of memory, about. */
export function planBytes(shapes: readonly CopyShape[]): number {
  return shapes.length * SHAPE_BYTES
}

/**
 * The COPY FROM STDIN statements of `sql`, or undefined if there are none. Throws MESSAGE_TOO_LARGE
 * beyond LIMITS.preparedCopiesMax of them: each is kept until its data is there.
 */
export function planCopies(sql: string): CopyPlan | undefined {
  const reader = new StatementReader(sql)
  const shapes: CopyShape[] = []
  let statementCount = 0
  while (reader.advance() !== 'end') {
    if (reader.isSymbol(';')) continue
    statementCount++
    const shape = readCopy(reader)
    if (shape) shapes.push(shape)
    if (shapes.length > LIMITS.preparedCopiesMax)
      throw tooMany('in one message', 'send fewer at once')
    reader.skipStatement()
  }
  return shapes.length === 0 ? undefined : { shapes, alone: statementCount === 1 }
}

/** Whether the bytes hold the letters of COPY, in any case. No statement without them is a COPY. */
export function mayHoldCopy(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start + 3; at < end; at++) {
    // The last letter is the rarest of the four.
    if (((bytes[at] as number) | 0x20) !== 0x79) continue
    if (((bytes[at - 1] as number) | 0x20) !== 0x70) continue
    if (((bytes[at - 2] as number) | 0x20) !== 0x6f) continue
    if (((bytes[at - 3] as number) | 0x20) === 0x63) return true
  }
  return false
}

/**
 * Remembers which prepared statements and portals of one client are COPY FROM STDIN. Names are kept
 * only while there is such a statement, so clients that never COPY pay nothing.
 */
export class CopyWatch {
  readonly #encoding: () => string | undefined
  readonly #statements = new Map<string, CopyPlan>()
  readonly #portals = new Map<string, CopyPlan>()
  #keptBytes = 0

  /** @param encoding in which the client talks, as far as is known. Default: in UTF-8 */
  constructor(encoding: () => string | undefined = () => undefined) {
    this.#encoding = encoding
  }

  /** Whether some prepared statement of this client is a COPY FROM STDIN. */
  get armed(): boolean {
    return this.#statements.size > 0
  }

  /** What is kept of names and plans, about. */
  get keptBytes(): number {
    return this.#keptBytes
  }

  /**
   * The copies that the message whose body is [start, end) would begin, if it does. May be asked
   * twice for one message. Throws MESSAGE_TOO_LARGE beyond LIMITS.preparedCopiesMax.
   */
  inspect(type: number, bytes: Uint8Array, start: number, end: number): CopyPlan | undefined {
    switch (type) {
      case FRONTEND.query:
        return mayHoldCopy(bytes, start, end) ? this.#plan(bytes, start, end) : undefined
      case FRONTEND.parse:
        if (this.armed || mayHoldCopy(bytes, start, end)) this.#parse(bytes, start, end)
        return undefined
      case FRONTEND.bind:
        if (this.armed) this.#bind(bytes, start, end)
        return undefined
      case FRONTEND.execute:
        return this.armed ? this.#portals.get(stringAt(bytes, start, end)) : undefined
      case FRONTEND.close:
        if (this.armed) this.#close(bytes, start, end)
        return undefined
      default:
        return undefined
    }
  }

  #plan(bytes: Uint8Array, start: number, end: number): CopyPlan | undefined {
    const sql = bytes.subarray(start, end)
    const readable = withoutTrails(sql, this.#encoding())
    return planCopies(stringAt(readable, 0, readable.length))
  }

  #parse(bytes: Uint8Array, start: number, end: number): void {
    const name = stringAt(bytes, start, end)
    const sqlStart = stringEnd(bytes, start, end)
    const holds = mayHoldCopy(bytes, sqlStart, end)
    const plan = holds ? this.#plan(bytes, sqlStart, end) : undefined
    this.#note(this.#statements, name, plan)
  }

  #bind(bytes: Uint8Array, start: number, end: number): void {
    const portal = stringAt(bytes, start, end)
    const plan = this.#statements.get(stringAt(bytes, stringEnd(bytes, start, end), end))
    this.#note(this.#portals, portal, plan)
  }

  #close(bytes: Uint8Array, start: number, end: number): void {
    const names = bytes[start] === 0x53 ? this.#statements : this.#portals
    this.#note(names, stringAt(bytes, start + 1, end), undefined)
  }

  /**
   * What `name` means from now on. To forget one would let its COPY reach the backend without data,
   * so too many end the client.
   */
  #note(plans: Map<string, CopyPlan>, name: string, plan: CopyPlan | undefined): void {
    const before = plans.get(name)
    if (before) this.#keptBytes -= noteBytes(name, before)
    plans.delete(name)
    if (!plan) return
    if (plans.size >= LIMITS.preparedCopiesMax) throw tooMany('prepared', 'close some')
    plans.set(name, plan)
    this.#keptBytes += noteBytes(name, plan)
  }
}

function noteBytes(name: string, { shapes }: CopyPlan): number {
  return 2 * name.length + planBytes(shapes)
}

function tooMany(where: string, advice: string): PgnapError {
  return new PgnapError('MESSAGE_TOO_LARGE', `too many COPY FROM STDIN statements ${where}`, {
    hint: `${advice}: the limit preparedCopiesMax is ${LIMITS.preparedCopiesMax}`,
  })
}

/** Reads one COPY whose first token is current; leaves the reader somewhere in the statement. */
function readCopy(reader: StatementReader): CopyShape | undefined {
  if (!reader.isWord('copy')) return undefined
  reader.advance()
  let binary = reader.isWord('binary')
  if (binary) reader.advance()
  if (!reader.skipName()) return undefined
  const columnCount = reader.isSymbol('(') ? reader.countList() : 0
  if (!reader.isWord('from')) return undefined
  reader.advance()
  // STDOUT after FROM means the same to Postgres's grammar.
  if (!reader.isWord('stdin') && !reader.isWord('stdout')) return undefined
  let freeze = false
  let previousIsFormat = false
  while (reader.advance() !== 'end' && !reader.isSymbol(';') && !reader.isWord('where')) {
    if (reader.isValue('binary')) binary ||= previousIsFormat || reader.depth === 0
    if (reader.isWord('freeze')) freeze = true
    previousIsFormat = reader.isWord('format')
  }
  return { columnCount, binary, freeze }
}

/** Tokens of statements; knows the depth of parentheses, so that a `;` inside them ends nothing. */
class StatementReader {
  readonly #lexer: SqlLexer
  #kind: TokenKind = 'end'
  /** Open parentheses around the current token. */
  depth = 0

  constructor(sql: string) {
    this.#lexer = new SqlLexer(sql)
  }

  advance(): TokenKind {
    if (this.isSymbol('(')) this.depth++
    this.#kind = this.#lexer.next()
    if (this.isSymbol(')') && this.depth > 0) this.depth--
    return this.#kind
  }

  isWord(word: string): boolean {
    if (this.#kind !== 'word' || this.#lexer.end - this.#lexer.start !== word.length) return false
    return this.#lexer.text.toLowerCase() === word
  }

  /** A word, or the same as a text or quoted name: COPY's options may be written in each way. */
  isValue(word: string): boolean {
    if (this.isWord(word)) return true
    if (this.#kind !== 'text' && this.#kind !== 'quoted-name') return false
    return this.#lexer.text.slice(1, -1).toLowerCase() === word
  }

  isSymbol(symbol: string): boolean {
    return this.#kind === 'symbol' && this.#lexer.text === symbol
  }

  /** Passes `a`, `a.b`, `a.b.c`; false if there is no name. */
  skipName(): boolean {
    for (;;) {
      if (this.#kind !== 'word' && this.#kind !== 'quoted-name') return false
      this.advance()
      if (!this.isSymbol('.')) return true
      this.advance()
    }
  }

  /** Passes a list in parentheses, whose opening one is current, and counts its elements. */
  countList(): number {
    const depth = this.depth
    let count = 1
    while (this.advance() !== 'end') {
      if (this.isSymbol(')') && this.depth === depth) break
      if (this.isSymbol(',') && this.depth === depth + 1) count++
    }
    this.advance()
    return count
  }

  /** Moves to the end of the current statement: its `;` or the end. */
  skipStatement(): void {
    while (!(this.isSymbol(';') && this.depth === 0) && this.#kind !== 'end') this.advance()
  }
}

/** Offset after the string at `start`, or `end` if it has no end. */
function stringEnd(bytes: Uint8Array, start: number, end: number): number {
  const zero = bytes.subarray(start, end).indexOf(0)
  return zero < 0 ? end : start + zero + 1
}

function stringAt(bytes: Uint8Array, start: number, end: number): string {
  const after = stringEnd(bytes, start, end)
  const closed = after > start && bytes[after - 1] === 0
  return fromBytes(bytes.subarray(start, closed ? after - 1 : after))
}
