/**
 * The log of a Worker: one JSON object per call of the console, which the platform collects. JSON
 * escapes whatever a client has put into a value.
 */
import type { Log, LogFields } from '../../base/log.ts'

type Level = keyof Log

/** Says what is at least `info`. */
export const consoleLog: Log = {
  debug: () => {},
  info: (message, fields) => write('info', message, fields),
  warn: (message, fields) => write('warn', message, fields),
  error: (message, fields) => write('error', message, fields),
}

function write(level: Level, message: string, fields: LogFields = {}): void {
  console[level](JSON.stringify({ level, message, ...fields }, describe))
}

/** An error has nothing that JSON would show. */
function describe(_key: string, value: unknown): unknown {
  if (!(value instanceof Error)) return value
  const { name, message, stack, cause } = value
  const code: unknown = 'code' in value ? value.code : undefined
  const detail: unknown = 'detail' in value ? value.detail : undefined
  return { name, code, message, detail, stack, cause }
}
