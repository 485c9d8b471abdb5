/**
 * How a verb fails: three parts on stderr (what, detail, hint) and an exit code that a script can
 * act on. A stack is for those who asked for one with --debug: to everybody else it hides the
 * sentence that helps.
 *
 *   0   done
 *   1   the operation failed: an SQL error, an unknown tenant, a damaged store
 *   2   wrong usage or configuration: trying again changes nothing
 *   69  no server, or it is not available (EX_UNAVAILABLE of sysexits.h): trying later may help
 */
import { type PgnapError, toPgnapError } from '../base/errors.ts'
import { visible } from './display-width.ts'
import { type PostgresFields, formatPostgresError, postgresFieldsOf } from './postgres-message.ts'

export const EXIT = { done: 0, failed: 1, usage: 2, unavailable: 69 } as const

/** A failure of which everything has been said already: the exit code is what is left to tell. */
export class SaidFailure extends Error {
  override readonly name = 'SaidFailure'
  readonly exitCode: number

  constructor(exitCode: number) {
    super(`failed with exit code ${exitCode}`)
    this.exitCode = exitCode
  }
}

const UNAVAILABLE: ReadonlySet<PgnapError['code']> = new Set([
  'SERVER_UNREACHABLE',
  'SHUTTING_DOWN',
  'STARTING',
  'SHARD_LOST',
  'CONNECTIONS_EXHAUSTED',
  'QUEUE_FULL',
])

export interface FailureReport {
  /** For stderr, with its last newline. */
  readonly text: string
  readonly exitCode: number
}

export interface ReportOptions {
  /** With the stack. */
  readonly debug: boolean
  /** As one JSON line. */
  readonly json: boolean
  /** The statement that failed, to point into. */
  readonly sql?: string
}

/** What to say about `error` and how to exit. */
export function reportFailure(error: unknown, options: ReportOptions): FailureReport {
  const fields = postgresFieldsOf(error)
  const stack = options.debug && error instanceof Error ? `${error.stack ?? ''}\n` : ''
  if (fields) {
    const text = options.json
      ? jsonLine(postgresFacts(fields))
      : formatPostgresError(fields, options)
    return { text: text + stack, exitCode: EXIT.failed }
  }
  const known = toPgnapError(error)
  const { code, sqlState, message, detail, hint } = known
  const exitCode = exitCodeOf(known)
  if (options.json) {
    return { text: jsonLine({ code, sqlState, message, detail, hint }) + stack, exitCode }
  }
  const lines = [`pgnap: ${message}`]
  if (detail !== undefined) lines.push(`detail: ${detail}`)
  if (hint !== undefined) lines.push(`hint: ${hint}`)
  // Some of it may come from a server, and drive a terminal.
  const said = lines.map((line) => `${visible(line, { newlines: true })}\n`).join('')
  return { text: said + stack, exitCode }
}

function exitCodeOf({ code }: PgnapError): number {
  if (code === 'CONFIG_INVALID') return EXIT.usage
  return UNAVAILABLE.has(code) ? EXIT.unavailable : EXIT.failed
}

function postgresFacts(fields: PostgresFields): unknown {
  const { C: sqlState, M: message, D: detail, H: hint, P: position } = fields
  return { code: 'POSTGRES', sqlState, message, detail, hint, position }
}

function jsonLine(error: unknown): string {
  return `${JSON.stringify({ error })}\n`
}
