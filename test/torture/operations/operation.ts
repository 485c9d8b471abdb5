/** What clients do to tenants. Each operation is a few messages and says what must come of them. */
import type { Random } from '../../../src/base/random.ts'
import type { Row } from '../ledger.ts'
import type { Session } from '../session.ts'

export interface Operation {
  readonly name: string
  /** How often, in relation to the others. */
  readonly weight: number
  /** Rejects with ConnectionLost when the server dies, with UnexpectedAnswer when it errs. */
  run(session: Session): Promise<void>
}

/** The table that every domain has. */
export const MAIN_TABLE = 'main'
/** Rows of one table beyond which inserting operations delete some first. */
export const ROWS_MAX = 120
/** Ids of rows: sparse, so that deleted ones leave holes for others. */
const ID_BOUND = 100_000

/** A string literal. */
export function quote(value: string | null): string {
  return value === null ? 'null' : `'${value.replaceAll("'", "''")}'`
}

/** A parenthesised list of values. */
export function valuesText(row: Row): string {
  const [id, ...values] = row
  return `(${[id, ...values.map(quote)].join(', ')})`
}

/** An id that is not among `taken`. */
export function freshId(random: Random, taken: { has(id: number): boolean }): number {
  for (;;) {
    const id = 1 + random.below(ID_BOUND)
    if (!taken.has(id)) return id
  }
}

const letters = Array.from('abcdefghijklmnopqrstuvwxyzäöüßñ€漢字🐘\'"\\\t')

/** Text of up to `charsMax` characters: quotes, backslashes and wide characters among them. */
export function someText(random: Random, charsMax: number): string {
  const length = random.below(charsMax + 1)
  return Array.from({ length }, () => letters[random.below(letters.length)]).join('')
}

/** Text that does not compress, so that Postgres keeps it out of line. */
export function bigText(random: Random): string {
  const bytes = random.bytes(6_000 + random.below(60_000))
  return Buffer.from(bytes).toString('base64')
}

/** A row that fits `columns`. */
export function someRow(random: Random, id: number, columns: readonly string[]): Row {
  const values = columns.slice(1).map(() => (random.below(12) === 0 ? null : someText(random, 60)))
  return [String(id), ...values]
}
