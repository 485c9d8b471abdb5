/**
 * What stands between the words of SQL and means nothing, by Postgres's lexical rules (manual,
 * section 4.1): blanks, and comments, which nest.
 *
 * Texts are of strangers and may have millions of lines: so this takes no stack, looks at each
 * character once and never tries a second way. One pattern for all of it would do the opposite.
 */

// What Postgres takes for blank; \s would add U+00A0 and U+FEFF, which begin a word.
const BLANK = /[ \t\n\r\f\v]+/y
const LINE_COMMENT = /--[^\n\r]*/y
const COMMENT_MARK = /\/\*|\*\//g

/**
 * Offset of the first character at or after `at` that is neither blank nor in a comment; the length
 * of `sql` if there is none. A comment that is not closed reaches to the end.
 */
export function skipGap(sql: string, at: number): number {
  for (;;) {
    at = matchEnd(BLANK, sql, at)
    if (sql.startsWith('--', at)) at = matchEnd(LINE_COMMENT, sql, at)
    else if (sql.startsWith('/*', at)) at = commentEnd(sql, at + 2)
    else return at
  }
}

/** Where a sticky `pattern` ends that matches at `at`; `at` itself if it does not. */
export function matchEnd(pattern: RegExp, sql: string, at: number): number {
  pattern.lastIndex = at
  return pattern.test(sql) ? pattern.lastIndex : at
}

function commentEnd(sql: string, at: number): number {
  let depth = 1
  COMMENT_MARK.lastIndex = at
  for (;;) {
    const mark = COMMENT_MARK.exec(sql)
    if (!mark) return sql.length
    depth += mark[0] === '/*' ? 1 : -1
    if (depth === 0) return COMMENT_MARK.lastIndex
  }
}
