/**
 * Every error that pgnap itself raises, in one table. Errors of Postgres pass through untouched.
 *
 * `kind` says what the caller must do:
 *   retry   the same request may work at once (another attempt starts from the store)
 *   wait    it may work later, or after a limit was raised
 *   fix     the request or the configuration is wrong and stays wrong
 *   report  a bug, damage or an unknown outcome: a person has to look, never repeat it blindly
 *
 * `docs/errors.md` lists the same codes; a test compares the two both ways.
 */
export type ErrorKind = 'retry' | 'wait' | 'fix' | 'report'

interface ErrorEntry {
  /** SQLSTATE (Postgres documentation, appendix A). */
  readonly sqlState: string
  readonly kind: ErrorKind
  /** HTTP status that carries this error. */
  readonly httpStatus: number
}

export const ERRORS = {
  TENANT_NAME_INVALID: { sqlState: '3D000', kind: 'fix', httpStatus: 400 },
  TENANT_UNKNOWN: { sqlState: '3D000', kind: 'fix', httpStatus: 404 },
  TENANT_CONFLICT: { sqlState: '3D000', kind: 'fix', httpStatus: 400 },
  TENANT_EXISTS: { sqlState: '42P04', kind: 'fix', httpStatus: 409 },
  TENANT_BUSY: { sqlState: '55006', kind: 'wait', httpStatus: 409 },
  TENANT_MOVED: { sqlState: '57P03', kind: 'retry', httpStatus: 503 },
  TOKEN_KEYS_UNREACHABLE: { sqlState: '08001', kind: 'wait', httpStatus: 503 },
  ROLE_UNKNOWN: { sqlState: '42704', kind: 'fix', httpStatus: 404 },
  ROLE_REVOKED: { sqlState: '57P01', kind: 'fix', httpStatus: 401 },
  AUTHENTICATION_FAILED: { sqlState: '28P01', kind: 'fix', httpStatus: 401 },
  CHANNEL_BINDING_FAILED: { sqlState: '28000', kind: 'fix', httpStatus: 401 },
  AUTHENTICATION_UNSUPPORTED: { sqlState: '28000', kind: 'fix', httpStatus: 401 },
  LOGIN_LIMITED: { sqlState: '53400', kind: 'wait', httpStatus: 429 },
  TLS_REQUIRED: { sqlState: '28000', kind: 'fix', httpStatus: 403 },
  AUTHENTICATION_TIMEOUT: { sqlState: '57014', kind: 'retry', httpStatus: 408 },
  PROTOCOL_VIOLATION: { sqlState: '08P01', kind: 'fix', httpStatus: 400 },
  REQUEST_INVALID: { sqlState: '22023', kind: 'fix', httpStatus: 400 },
  REQUEST_REFUSED: { sqlState: '42501', kind: 'fix', httpStatus: 403 },
  COMMAND_INVALID: { sqlState: '42601', kind: 'fix', httpStatus: 400 },
  OPERATION_OUT_OF_PLACE: { sqlState: '55000', kind: 'fix', httpStatus: 409 },
  ROUTE_UNKNOWN: { sqlState: '08P01', kind: 'fix', httpStatus: 404 },
  METHOD_NOT_ALLOWED: { sqlState: '08P01', kind: 'fix', httpStatus: 405 },
  UPGRADE_REQUIRED: { sqlState: '08P01', kind: 'fix', httpStatus: 426 },
  NOT_SUPPORTED: { sqlState: '0A000', kind: 'fix', httpStatus: 501 },
  SERVER_UNREACHABLE: { sqlState: '08001', kind: 'wait', httpStatus: 503 },
  PROTOCOL_UNSUPPORTED: { sqlState: '0A000', kind: 'fix', httpStatus: 400 },
  MESSAGE_TOO_LARGE: { sqlState: '54000', kind: 'fix', httpStatus: 413 },
  ANSWER_TOO_LARGE: { sqlState: '54000', kind: 'fix', httpStatus: 507 },
  CONNECTIONS_EXHAUSTED: { sqlState: '53300', kind: 'wait', httpStatus: 503 },
  PINS_EXHAUSTED: { sqlState: '53400', kind: 'fix', httpStatus: 409 },
  CLIENT_MEMORY_EXHAUSTED: { sqlState: '53200', kind: 'wait', httpStatus: 503 },
  QUEUE_FULL: { sqlState: '53300', kind: 'wait', httpStatus: 503 },
  QUERY_WAIT_TIMEOUT: { sqlState: '57014', kind: 'wait', httpStatus: 503 },
  QUERY_CANCELED: { sqlState: '57014', kind: 'fix', httpStatus: 400 },
  STATEMENT_CANCELED: { sqlState: '57014', kind: 'fix', httpStatus: 400 },
  STATEMENT_TIMEOUT: { sqlState: '57014', kind: 'fix', httpStatus: 400 },
  LOCK_TIMEOUT: { sqlState: '55P03', kind: 'wait', httpStatus: 503 },
  DEADLOCK: { sqlState: '40P01', kind: 'retry', httpStatus: 409 },
  TRANSACTION_TIMEOUT: { sqlState: '25P04', kind: 'fix', httpStatus: 400 },
  IDLE_IN_TRANSACTION_TIMEOUT: { sqlState: '25P03', kind: 'fix', httpStatus: 400 },
  IDLE_SESSION_TIMEOUT: { sqlState: '57P05', kind: 'fix', httpStatus: 400 },
  SESSION_TERMINATED: { sqlState: '57P01', kind: 'retry', httpStatus: 503 },
  SLOT_MEMORY_EXHAUSTED: { sqlState: '53200', kind: 'fix', httpStatus: 507 },
  SLOT_LOST: { sqlState: '57P01', kind: 'retry', httpStatus: 503 },
  IMAGE_INVALID: { sqlState: 'XX001', kind: 'retry', httpStatus: 503 },
  SETTINGS_REFUSED: { sqlState: 'F0000', kind: 'retry', httpStatus: 503 },
  SHARD_LOST: { sqlState: '57P01', kind: 'retry', httpStatus: 503 },
  SHUTTING_DOWN: { sqlState: '57P01', kind: 'wait', httpStatus: 503 },
  STARTING: { sqlState: '57P03', kind: 'wait', httpStatus: 503 },
  STORE_IO: { sqlState: '58030', kind: 'retry', httpStatus: 503 },
  STORE_FULL: { sqlState: '53100', kind: 'wait', httpStatus: 507 },
  STORE_FENCED: { sqlState: '40001', kind: 'retry', httpStatus: 503 },
  OUTCOME_UNKNOWN: { sqlState: '08007', kind: 'report', httpStatus: 500 },
  STORE_LOCKED: { sqlState: '55006', kind: 'fix', httpStatus: 503 },
  STORE_CORRUPT: { sqlState: 'XX001', kind: 'report', httpStatus: 500 },
  STORE_FORMAT_UNKNOWN: { sqlState: '0A000', kind: 'fix', httpStatus: 500 },
  STORE_ENGINE_MISMATCH: { sqlState: '0A000', kind: 'fix', httpStatus: 500 },
  VERSION_NOT_RETAINED: { sqlState: '22023', kind: 'fix', httpStatus: 404 },
  DATABASE_TOO_LARGE: { sqlState: '53100', kind: 'fix', httpStatus: 507 },
  TENANT_NOT_EMPTY: { sqlState: '55000', kind: 'fix', httpStatus: 409 },
  DUMP_INVALID: { sqlState: '22023', kind: 'fix', httpStatus: 400 },
  DUMP_FAILED: { sqlState: '58000', kind: 'fix', httpStatus: 500 },
  DATA_FOLDER_IN_USE: { sqlState: '55006', kind: 'fix', httpStatus: 503 },
  CONFIG_INVALID: { sqlState: 'F0000', kind: 'fix', httpStatus: 400 },
  ENGINE_ASSETS_INVALID: { sqlState: '58P01', kind: 'report', httpStatus: 500 },
  INTERNAL: { sqlState: 'XX000', kind: 'report', httpStatus: 500 },
} as const

export type ErrorCode = keyof typeof ERRORS

const entries: Readonly<Record<ErrorCode, ErrorEntry>> = ERRORS

export interface PgnapErrorOptions {
  /** What to do next; names a command or a setting where there is one. */
  readonly hint?: string
  /** Facts about this case, as Postgres's DETAIL field. */
  readonly detail?: string
  readonly cause?: unknown
}

/** The one error class of pgnap. */
export class PgnapError extends Error {
  override readonly name = 'PgnapError'
  readonly code: ErrorCode
  readonly sqlState: string
  readonly kind: ErrorKind
  readonly httpStatus: number
  readonly hint: string | undefined
  readonly detail: string | undefined

  constructor(code: ErrorCode, message: string, options: PgnapErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    const entry = entries[code]
    this.code = code
    this.sqlState = entry.sqlState
    this.kind = entry.kind
    this.httpStatus = entry.httpStatus
    this.hint = options.hint
    this.detail = options.detail
  }
}

/** SQLSTATEs after which a client may go on, if its batch has not begun: it waited in vain. */
export const WAITED_IN_VAIN: ReadonlySet<string> = new Set(['57014', '53300', '55P03', '40P01'])

/** What something that was thrown says, an error or not. */
export function errorText(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/**
 * `error` as a {@link PgnapError}: itself, or wrapped as INTERNAL with the original as its cause.
 */
export function toPgnapError(error: unknown): PgnapError {
  if (error instanceof PgnapError) return error
  const message = errorText(error)
  return new PgnapError('INTERNAL', `internal error: ${message}`, {
    cause: error,
    hint: 'this is a bug in pgnap; please report it with the server log',
  })
}
