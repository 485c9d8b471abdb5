/**
 * Cuts a script of SQL into its statements, line by line as it comes, so that a dump of any size is
 * read in little memory. A statement ends at a semicolon that stands in no text, name, comment or
 * parentheses, nor in the body of a function between BEGIN ATOMIC and its END, of which only the
 * words tell where it ends: the rules are those of psql (psqlscan.l).
 *
 * Lines are bytes as Latin-1: whatever the encoding of the script is, if it is one that Postgres
 * knows on servers, what matters here is ASCII in it, and everything else is passed on as it came.
 */
import { skipGap } from '../../../base/sql-gap.ts'

export interface ScriptStatement {
  /** From its first word to its semicolon, bytes as Latin-1. */
  readonly sql: string
  /** Of its first word, counted from 1. */
  readonly line: number
}

/**
 * What changes the meaning of a semicolon; and words and numbers, since a `$` may be a part of
 * them, and a word say what the quote behind it is.
 */
const TOKEN =
  /--|\/\*|'|"|[();]|\$(?:[a-z_\x80-\xff][\w\x80-\xff]*)?\$|[a-z_\x80-\xff][\w$\x80-\xff]*'?|\d+/gi
const COMMENT_MARK = /\/\*|\*\//g
/** In a text with escapes: what ends it, and what only looks as if. */
const ESCAPED_MARK = /\\[^]|''|'/g
/** So many words tell whether it makes a routine. */
const WORDS_KEPT = 4
const ROUTINE = /^create (?:or replace )?(?:function|procedure)\b/

export class StatementSplitter {
  /** Lines of the statement that is open, or of the gap before it. */
  #text = ''
  /** What ends the text, name or comment that is open. */
  #closing = ''
  #commentDepth = 0
  #parentheses = 0
  /** Blocks that an END is still to come for. */
  #blocks = 0
  #words: string[] = []
  #lineCount = 0

  /** Lines so far. */
  get lineCount(): number {
    return this.#lineCount
  }

  /** Whether a new statement may begin with the next line. */
  get isBetween(): boolean {
    return this.#closing === '' && this.#words.length === 0 && this.#isGap()
  }

  /** Characters of the statement that is open. */
  get openChars(): number {
    return this.#text.length
  }

  /** Takes one line with its line break; the statements that end in it. */
  push(line: string): ScriptStatement[] {
    this.#lineCount++
    const ended: ScriptStatement[] = []
    let from = 0
    let at = 0
    while (at < line.length) {
      if (this.#closing !== '') {
        at = this.#close(line, at)
        continue
      }
      TOKEN.lastIndex = at
      const token = TOKEN.exec(line)?.[0]
      if (token === undefined) break
      at = TOKEN.lastIndex
      if (token === '--') break
      if (token === ';' && this.#parentheses === 0 && this.#blocks === 0) {
        this.#text += line.slice(from, at)
        ended.push(...this.#end())
        from = at
      } else this.#enter(token)
    }
    this.#text += line.slice(from)
    // What lies between statements is of no use, and may be long.
    if (this.isBetween) this.#text = ''
    return ended
  }

  #enter(token: string): void {
    if (token === '(') this.#parentheses++
    else if (token === ')') this.#parentheses = Math.max(0, this.#parentheses - 1)
    else if (token === '/*') {
      this.#closing = '*/'
      this.#commentDepth = 1
    } else if (token === "'" || token === '"' || token.startsWith('$')) this.#closing = token
    else if (token.endsWith("'")) this.#closing = /^e'$/i.test(token) ? "E'" : "'"
    else this.#word(token.toLowerCase())
  }

  /** A body that is SQL itself is not quoted: its semicolons lie between BEGIN and END. */
  #word(word: string): void {
    if (this.#words.length < WORDS_KEPT) this.#words.push(word)
    if (this.#parentheses > 0 || !ROUTINE.test(this.#words.join(' '))) return
    if (word === 'begin') this.#blocks++
    else if (word === 'case' && this.#blocks > 0) this.#blocks++
    else if (word === 'end' && this.#blocks > 0) this.#blocks--
  }

  /** Goes to the end of what is open, or of the line. */
  #close(line: string, at: number): number {
    if (this.#closing === '*/') return this.#closeComment(line, at)
    if (this.#closing === "E'") return this.#closeEscaped(line, at)
    // A doubled quote ends one and opens the next, which comes to the same.
    const end = line.indexOf(this.#closing, at)
    if (end < 0) return line.length
    at = end + this.#closing.length
    this.#closing = ''
    return at
  }

  #closeComment(line: string, at: number): number {
    COMMENT_MARK.lastIndex = at
    for (let mark = COMMENT_MARK.exec(line); mark; mark = COMMENT_MARK.exec(line)) {
      this.#commentDepth += mark[0] === '/*' ? 1 : -1
      if (this.#commentDepth > 0) continue
      this.#closing = ''
      return COMMENT_MARK.lastIndex
    }
    return line.length
  }

  #closeEscaped(line: string, at: number): number {
    ESCAPED_MARK.lastIndex = at
    for (let mark = ESCAPED_MARK.exec(line); mark; mark = ESCAPED_MARK.exec(line)) {
      if (mark[0] !== "'") continue
      this.#closing = ''
      return ESCAPED_MARK.lastIndex
    }
    return line.length
  }

  #end(): ScriptStatement[] {
    const sql = this.#text.slice(skipGap(this.#text, 0))
    this.#text = ''
    this.#words = []
    // Nothing but a semicolon is no statement.
    if (sql === ';') return []
    return [{ sql, line: this.#lineCount - lineBreaks(sql) }]
  }

  #isGap(): boolean {
    return skipGap(this.#text, 0) === this.#text.length
  }
}

function lineBreaks(text: string): number {
  let count = 0
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++
  return count
}
