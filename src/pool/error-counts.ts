/**
 * Errors that clients were told, counted by the class of their SQLSTATE: its first two characters.
 *
 * A client can raise any five characters, so only the classes of Postgres's own documentation are
 * counted apart; what nobody has defined is one number, `other`. Answers are looked through only
 * when the backend says that an error was raised in them: a walk over every row would cost more
 * than the query.
 *
 * Source: Postgres 18, documentation, appendix A, "PostgreSQL Error Codes".
 */
import { fromUtf8 } from '../base/bytes.ts'
import { eachMessage } from '../base/message-frames.ts'

const ERROR_RESPONSE = 0x45
const HEAD_BYTES = 5
const QUERY_CANCELED = '57014'
export const OTHER_CLASS = 'other'

/** Classes of errors; warnings and notices do not end a statement. */
const CLASSES: ReadonlySet<string> = new Set(
  (
    '03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F ' +
    '40 42 44 53 54 55 57 58 72 F0 HV P0 XX'
  ).split(' '),
)

export interface ErrorTotals {
  /** By class; only those of which there were any. */
  readonly byClass: Readonly<Record<string, number>>
  /** Of them, statements that were cancelled: by a request, by a limit of time. */
  readonly cancelled: number
}

export class ErrorCounts {
  readonly #byClass = new Map<string, number>()
  #cancelled = 0

  record(sqlState: string): void {
    const named = sqlState.slice(0, 2)
    const kind = sqlState.length === 5 && CLASSES.has(named) ? named : OTHER_CLASS
    this.#byClass.set(kind, (this.#byClass.get(kind) ?? 0) + 1)
    if (sqlState === QUERY_CANCELED) this.#cancelled++
  }

  /** Counts each error of an answer of the backend. */
  recordAnswer(answer: Uint8Array): void {
    eachMessage(answer, (type, at, end) => {
      if (type !== ERROR_RESPONSE) return
      const fields = fromUtf8(answer.subarray(at + HEAD_BYTES, end)).split('\0')
      this.record(fields.find((field) => field.startsWith('C'))?.slice(1) ?? '')
    })
  }

  toData(): ErrorTotals {
    return { byClass: Object.fromEntries(this.#byClass), cancelled: this.#cancelled }
  }
}

/** The sums. */
export function addUpErrors(parts: readonly ErrorTotals[]): ErrorTotals {
  const byClass: Record<string, number> = {}
  let cancelled = 0
  for (const part of parts) {
    cancelled += part.cancelled
    for (const [kind, count] of Object.entries(part.byClass)) {
      byClass[kind] = (byClass[kind] ?? 0) + count
    }
  }
  return { byClass, cancelled }
}
