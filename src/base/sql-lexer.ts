/**
 * Where words, names, texts and comments of SQL begin and end, by Postgres's lexical rules (manual,
 * section 4.1): enough to know which words are really words. Total: any text is cut into tokens
 * that follow each other to its end, and what is not closed reaches to the end.
 *
 * It assumes standard_conforming_strings, Postgres's default: with it turned off a backslash before
 * a quote would be read differently. It must never be used to decide what a client may do, only how
 * its bytes are to be waited for.
 */

import { matchEnd, skipGap } from './sql-gap.ts'

export type TokenKind = 'word' | 'quoted-name' | 'text' | 'number' | 'parameter' | 'symbol' | 'end'

const WORD = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y
const NUMBER = /\.?[0-9][0-9A-Za-z_.]*/y
const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y
const PARAMETER = /\$[0-9]+/y

export class SqlLexer {
  readonly #sql: string
  #start = 0
  #end = 0

  constructor(sql: string) {
    this.#sql = sql
  }

  /** Offset of the current token. */
  get start(): number {
    return this.#start
  }

  /** Offset after the current token. */
  get end(): number {
    return this.#end
  }

  /** The current token as typed. */
  get text(): string {
    return this.#sql.slice(this.#start, this.#end)
  }

  /** Moves to the next token. After 'end' it stays there. */
  next(): TokenKind {
    const sql = this.#sql
    const at = skipGap(sql, this.#end)
    this.#start = at
    if (at >= sql.length) {
      this.#end = at
      return 'end'
    }
    const character = sql[at] ?? ''
    const following = sql[at + 1]
    if (character === "'") return this.#to(textEnd(sql, at + 1, false), 'text')
    if (character === '"') return this.#to(quoteEnd(sql, at + 1, '"'), 'quoted-name')
    if (character === '$') return this.#dollar(at)
    if (following === "'" && 'eE'.includes(character)) {
      return this.#to(textEnd(sql, at + 2, true), 'text')
    }
    if (following === "'" && 'bBxXnN'.includes(character)) {
      return this.#to(textEnd(sql, at + 2, false), 'text')
    }
    if ('uU'.includes(character) && following === '&' && /['"]/.test(sql[at + 2] ?? '')) {
      const quote = sql[at + 2] ?? ''
      return this.#to(quoteEnd(sql, at + 3, quote), quote === "'" ? 'text' : 'quoted-name')
    }
    const word = matchEnd(WORD, sql, at)
    if (word > at) return this.#to(word, 'word')
    const number = matchEnd(NUMBER, sql, at)
    if (number > at) return this.#to(number, 'number')
    return this.#to(at + 1, 'symbol')
  }

  #dollar(at: number): TokenKind {
    const sql = this.#sql
    const tagEnd = matchEnd(DOLLAR_TAG, sql, at)
    if (tagEnd > at) {
      const tag = sql.slice(at, tagEnd)
      const close = sql.indexOf(tag, tagEnd)
      return this.#to(close < 0 ? sql.length : close + tag.length, 'text')
    }
    const parameter = matchEnd(PARAMETER, sql, at)
    return parameter > at ? this.#to(parameter, 'parameter') : this.#to(at + 1, 'symbol')
  }

  #to(end: number, kind: TokenKind): TokenKind {
    this.#end = end
    return kind
  }
}

/** Offset after a text whose body begins at `at`; a doubled quote stands for one. */
function textEnd(sql: string, at: number, escapes: boolean): number {
  if (!escapes) return quoteEnd(sql, at, "'")
  for (let index = at; index < sql.length; index++) {
    if (sql[index] === '\\') index++
    else if (sql[index] === "'") {
      if (sql[index + 1] !== "'") return index + 1
      index++
    }
  }
  return sql.length
}

function quoteEnd(sql: string, at: number, quote: string): number {
  for (;;) {
    const close = sql.indexOf(quote, at)
    if (close < 0) return sql.length
    if (sql[close + 1] !== quote) return close + 1
    at = close + 2
  }
}
