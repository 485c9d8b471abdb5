/**
 * Words that tell of a statement which begins like a read that it is none: it locks rows, or calls
 * a function of Postgres whose effect or answer a fork must not have (`write-watch.ts`). It need
 * not be tried in one: a try costs all readers of the tenant their fork.
 *
 * A guess: what is called in other ways the fork finds out, and who waits without need waits as it
 * would without forks. Words in texts, names in quotes and comments tell nothing.
 */
import { SqlLexer } from '../base/sql-lexer.ts'
import { NOT_FOR_FORKS } from '../engine/write-watch.ts'

const FUNCTIONS: ReadonlySet<string> = new Set(Object.values(NOT_FOR_FORKS))
/** A view over one of them. */
const LOCKS_VIEW = 'pg_locks'
/** Texts without any of these have no such word: most of them, and they are not cut into words. */
const MENTION = new RegExp(
  [...FUNCTIONS, LOCKS_VIEW, String.raw`\b(?:update|share)\b`].join('|'),
  'i',
)
/** What stands behind FOR. */
const LOCKS_ROWS: ReadonlySet<string> = new Set(['update', 'no key update', 'share', 'key share'])
const STRENGTH: ReadonlySet<string> = new Set(['no', 'key', 'update', 'share'])

/** Whether `sql`, which begins as a read, is known by its words to be none. */
export function tellsOfMore(sql: string): boolean {
  if (!MENTION.test(sql)) return false
  const lexer = new SqlLexer(sql)
  /** The last word, if nothing else has followed, and those behind the last FOR. */
  let last = ''
  let strength: string | undefined
  for (let kind = lexer.next(); kind !== 'end'; kind = lexer.next()) {
    if (kind !== 'word') {
      if (lexer.text === '(' && FUNCTIONS.has(last)) return true
      last = ''
      strength = undefined
      continue
    }
    last = lexer.text.toLowerCase()
    if (last === LOCKS_VIEW) return true
    if (last === 'for') strength = ''
    else if (strength !== undefined && STRENGTH.has(last)) {
      strength = `${strength} ${last}`.trimStart()
      if (LOCKS_ROWS.has(strength)) return true
    } else strength = undefined
  }
  return false
}
