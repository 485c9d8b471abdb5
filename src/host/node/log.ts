/**
 * The server's log: pino, to stderr, so that stdout stays free for answers of the command line.
 * One JSON object per line for machines; on a terminal one readable line instead.
 *
 * Writing is synchronous: the line that explains a crash must be out before the process is.
 * A log that cannot be written ends nothing (`log-lines.ts`).
 *
 * A value from a client (a tenant name, an error text) must never be able to forge a second line or
 * move a terminal's cursor, so control characters are escaped in both forms.
 */
import { isatty } from 'node:tty'
import { pino } from 'pino'
import type { Log, LogFields } from '../../base/log.ts'
import { LogLines } from './log-lines.ts'

/** What is written: this level and everything above it. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** Where lines go: each is written at once, with its line end. */
export interface LogDestination {
  write(line: string): void
}

export interface LogOptions {
  /** Default `info`. */
  readonly level?: LogLevel
  /** `json` or `pretty`. Default: `pretty` on a terminal, else `json`. */
  readonly format?: 'json' | 'pretty'
  /** Where lines go. Default: stderr. */
  readonly destination?: LogDestination
  /** Fields of every line, such as the shard. Default: none. */
  readonly fields?: LogFields
}

const STDERR_DESCRIPTOR = 2

/**
 * Opens a log. An `error` field may hold an `Error`: it is written with its code, stack and causes.
 *
 * @example
 * const log = openLog({ level: 'debug', fields: { shard: 0 } })
 * log.info('listening', { port: 6432 })
 */
export function openLog(options: LogOptions = {}): Log {
  const format = options.format ?? (isatty(STDERR_DESCRIPTOR) ? 'pretty' : 'json')
  const lines = options.destination ?? new LogLines(STDERR_DESCRIPTOR, (count) => tellLost(count))
  const destination =
    format === 'json' ? lines : { write: (line: string): void => lines.write(prettyLine(line)) }
  const logger = pino(
    {
      level: options.level ?? 'info',
      base: options.fields ?? null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: serializeError },
    },
    destination,
  )
  const tellLost = (count: number): void =>
    logger.warn({ count }, 'lines of this log could not be written and are lost')
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, fields) => logger.error(fields ?? {}, message),
  }
}

function serializeError(value: unknown): unknown {
  return value instanceof Error ? pino.stdSerializers.errWithCause(value) : value
}

/** `12:34:56.789 warn  message  key=value`, from pino's JSON line; stacks follow indented. */
function prettyLine(line: string): string {
  const { time, level, msg, ...fields } = JSON.parse(line) as Record<string, unknown>
  let text = `${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${printable(String(msg))}`
  let stack = ''
  for (const [key, value] of Object.entries(fields)) {
    if (key === 'error' && isErrorRecord(value)) {
      text += ` ${key}=${printable(JSON.stringify(value.message))}`
      stack = value.stack
    } else {
      text += ` ${printable(key)}=${printable(JSON.stringify(value))}`
    }
  }
  for (const frame of stack.split('\n')) if (frame !== '') text += `\n    ${printable(frame)}`
  return `${text}\n`
}

function isErrorRecord(value: unknown): value is { message: string; stack: string } {
  if (typeof value !== 'object' || value === null) return false
  return 'stack' in value && typeof value.stack === 'string' && 'message' in value
}

/** C0 and C1 control characters, and DEL: what could forge a line or drive a terminal. */
// oxlint-disable-next-line no-control-regex -- these are the characters to be found
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g

function printable(text: string): string {
  return text.replace(
    CONTROL,
    (char) => `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  )
}
